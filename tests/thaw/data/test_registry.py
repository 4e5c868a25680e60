import pytest

from thaw.data.registry import validate_source
from thaw.errors import UserError


@pytest.mark.parametrize("values", [{"kind": "zip"}, {}, None])
def test_source_kinds_are_the_modules_of_thaw_sources(values):
    kinds = "cifar10, elpv, fashion_mnist, folder, manifest, published"
    with pytest.raises(UserError, match=rf"source.kind = .*: expected one of {kinds}\."):
        validate_source(values)
