from thaw.models.registry import network_families


def test_every_module_of_thaw_networks_is_a_family():
    assert network_families() == ["cnn", "dense", "inception", "resnet"]
