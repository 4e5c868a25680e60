import zipfile

import pytest

from thaw.data.download.mirror import sha256
from thaw.data.download.package import fetch_package
from thaw.errors import UserError

NAME, VERSION = "some-data", "1.0"


@pytest.fixture
def wheel(tmp_path):
    """Return a valid wheel that contains only metadata."""
    (tmp_path / "wheels").mkdir()
    path = tmp_path / "wheels" / "some_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {
            "METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            archive.writestr(f"some_data-1.0.dist-info/{name}", text)
    return path


@pytest.fixture(autouse=True)
def no_index(tmp_path, monkeypatch):
    """Configure pip without an index and with an empty folder of links."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))


def test_wheel_in_the_mirror_is_used_in_place(wheel, monkeypatch):
    monkeypatch.setenv("THAW_MIRROR", str(wheel.parent))
    assert fetch_package(NAME, VERSION, sha256(wheel)) == wheel


def test_pip_downloads_the_wheel_once(wheel, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    kept = fetch_package(NAME, VERSION, sha256(wheel))
    assert kept.read_bytes() == wheel.read_bytes()
    digest = sha256(wheel)
    wheel.unlink()
    assert fetch_package(NAME, VERSION, digest) == kept


def test_wheel_with_another_digest_is_refused_from_all_sources(wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_MIRROR", str(wheel.parent))
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    with pytest.raises(UserError, match="pip cannot download the package some-data 1.0: .+"):
        fetch_package(NAME, VERSION, "0" * 64)
    assert not list((tmp_path / "store").rglob("*"))


def test_message_without_any_source_says_what_to_do():
    with pytest.raises(UserError) as refusal:
        fetch_package(NAME, VERSION, "0" * 64)
    assert "No matching distribution found for some-data==1.0" in str(refusal.value)
    assert "pip download --no-deps some-data==1.0" in str(refusal.value)
    assert "set THAW_MIRROR" in str(refusal.value)
