import hashlib

import pytest

from thaw.data.download.mirror import mirrored, sha256
from thaw.errors import UserError


def test_without_thaw_mirror_no_file_is_found():
    assert mirrored(".h5") == []


def test_mirror_folder_is_searched_recursively_by_suffix(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    for name in ("b.h5", "a.H5", "c.whl", "deep/d.h5"):
        (tmp_path / name).touch()
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path))
    assert [file.name for file in mirrored(".h5")] == ["a.H5", "b.h5", "d.h5"]
    assert [file.name for file in mirrored(".whl", ".zip")] == ["c.whl"]


def test_mirror_may_be_a_single_file(tmp_path, monkeypatch):
    (tmp_path / "a.h5").touch()
    (tmp_path / "b.h5").touch()
    monkeypatch.setenv("THAW_MIRROR", str(tmp_path / "a.h5"))
    assert mirrored(".h5") == [tmp_path / "a.h5"]
    assert mirrored(".whl") == []


def test_missing_mirror_is_refused(monkeypatch):
    monkeypatch.setenv("THAW_MIRROR", "/nowhere/at/all")
    with pytest.raises(UserError, match="THAW_MIRROR = '/nowhere/at/all': no such file or folder"):
        mirrored(".h5")


def test_sha256_is_the_digest_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
