import pytest

from thaw.data.classes import named_class
from thaw.errors import UserError


@pytest.mark.parametrize(
    ("value", "label"),
    [(1, "1"), (0, "0"), (True, "true"), (False, "no"), (1.0, "1"), (1000.0, "1e3"), (7, "007")]
    + [("1", "1"), ("null", "null"), ("yes", "yes"), (2.5, "2.50"), (-1, "-1")],
)
def test_a_class_is_named_by_what_yaml_reads_it_as(value, label):
    assert named_class(value, ["a", label]) == label


def test_a_name_that_fits_no_class_or_two_is_refused():
    with pytest.raises(UserError, match="positive_class = 2: expected one of 0, 1."):
        named_class(2, ["0", "1"])
    with pytest.raises(UserError, match="positive_class = True: expected one of 0, 1."):
        named_class(True, ["0", "1"])
    with pytest.raises(UserError, match="= 'dgo': expected one of cat, dog. Did you mean dog"):
        named_class("dgo", ["cat", "dog"])
    with pytest.raises(UserError, match="1.0: expected one class, and 01 and 1 are read so. Quote"):
        named_class(1.0, ["01", "1"])
