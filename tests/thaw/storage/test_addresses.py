import sys

import pytest
from fsspec.registry import _registry

from thaw.errors import UserError
from thaw.storage.addresses import Unreachable, filesystem, is_remote


def test_addresses_have_a_protocol():
    for address in ("s3://bucket/a", "https://host/a.zip", "file:///data", "webdavs://host"):
        assert is_remote(address)
    for path in ("photos", "/data/a", "C:\\photos", "a:b", "~/x", "a/s3://b", "://a"):
        assert not is_remote(path)


@pytest.mark.parametrize(
    ("protocol", "package", "extra"),
    [("s3", "s3fs", "s3"), ("webdavs", "webdav4", "webdav"), ("webdav", "webdav4", "webdav")],
)
def test_a_missing_package_is_named_by_its_extra(protocol, package, extra, monkeypatch):
    monkeypatch.delitem(_registry, protocol, raising=False)
    for name in (package, f"{package}.client", f"{package}.fsspec"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Unreachable, match=f"make setup EXTRA={extra}$"):
        filesystem(f"{protocol}://host/pets")


def test_a_filesystem_comes_with_the_path_in_it(tmp_path):
    (tmp_path / "a").write_text("content")
    fs, path = filesystem(f"file://{tmp_path}")
    assert fs.cat_file(f"{path}/a") == b"content"
    with pytest.raises(UserError, match="Protocol not known: nothing"):
        filesystem("nothing://host")
