import numpy as np
import pytest

from tests.thaw.models.backbones.test_frozen import KEYS, frozen, image, weights  # noqa: F401
from thaw.models.backbones import one_pass

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_pass_stores_the_bytes_of_two(frozen, monkeypatch, tmp_path, precision):  # noqa: F811
    features, below = (
        frozen(precision=precision),
        frozen(precision=precision, thaw_from="block5_conv1"),
    )
    for part in (features, below):
        part.fill(part.store(), KEYS, image, "")
    expected = [[part.store()[key] for key in KEYS] for part in (features, below)]
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "other"))
    arguments = features.backbone, features.weights, features.arguments["shape"], "block5_conv1"
    assert type(one_pass.features_network(*arguments, images=39)) is type(features)
    both = one_pass.features_network(*arguments, images=40)
    assert isinstance(both, one_pass.OnePass)
    below.fill(below.store(), KEYS[:1], image, "")  # one output is there already
    assert both.fill(features.store(), KEYS, image, "") == len(KEYS)
    assert below.fill(below.store(), KEYS, image, "") == 0
    stored = [[part.store()[key] for key in KEYS] for part in (features, below)]
    for ours, theirs in zip(stored, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours[0].dtype == theirs[0].dtype


def test_outputs_that_differ_are_not_computed_in_one_pass(frozen, monkeypatch):  # noqa: F811
    plain = frozen()
    monkeypatch.setattr(one_pass.OnePass, "agrees", lambda *_: False)
    arguments = plain.backbone, plain.weights, plain.arguments["shape"], "block5_conv1"
    assert type(one_pass.features_network(*arguments, images=40)) is type(plain)


def test_features_are_stored_if_only_the_frozen_outputs_are_too_large(frozen):  # noqa: F811
    plain = frozen(precision="bfloat16")
    arguments = plain.backbone, plain.weights, plain.arguments["shape"], "block5_conv1"
    both = one_pass.OnePass(*arguments)
    for variables, factor in ((both.network.weights, 30), (both.thawed.weights, 0)):
        for variable in variables:
            variable.assign(variable * factor)
    both.fill(plain.store(), KEYS[:2], image, "")
    assert not plain.store().missing(KEYS[:2]) and both.store().missing(KEYS[:2]) == KEYS[:2]
