from thaw.data.registry import source_kinds


def test_source_kinds_are_the_modules_of_thaw_sources():
    assert source_kinds() == ["cifar10", "elpv", "fashion_mnist", "folder", "published"]
