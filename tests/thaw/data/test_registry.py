from thaw.data.registry import source_kinds


def test_every_reader_is_a_kind():
    assert source_kinds() == ["cifar10", "elpv", "fashion_mnist", "folder", "published"]
