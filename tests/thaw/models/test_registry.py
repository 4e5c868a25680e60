import pytest

from thaw.errors import UserError
from thaw.models.registry import validate_network


def test_every_module_of_thaw_networks_is_a_family():
    expected = r"networks.mine.family = 'dens': expected one of cnn, dense, inception, resnet\. Did"
    with pytest.raises(UserError, match=expected):
        validate_network({"family": "dens"}, "mine")
