import gzip
import io
import os
import tarfile
import zipfile

import pytest

from thaw.data.archives import is_archive, unpack
from thaw.errors import UserError

FILES = {"cats/1.jpg": b"one", "cats/deep/2.jpg": b"two", "dogs/3.jpg": b"three"}


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "out" / "into"
    folder.mkdir(parents=True)
    return folder


def made_zip(path, files: dict[str, bytes]):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def made_tar(path, *entries: tarfile.TarInfo, mode: str = "w"):
    with tarfile.open(path, mode) as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


def entry(name: str, **values) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = 0 if "type" in values else 1
    for key, value in values.items():
        setattr(info, key, value)
    return info


def refused(archive, into, content, match: str) -> None:
    """It is refused and nothing was written, neither in `into` nor around it."""
    with pytest.raises(UserError, match=match):
        unpack(archive, into)
    assert content(into.parent) == {}


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".TAR.GZ"])
def test_every_kind_gives_its_files(tmp_path, into, content, suffix):
    source = tmp_path / "source"
    for name, data in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    archive = tmp_path / f"images{suffix}"
    assert is_archive(archive)
    if suffix == ".zip":
        made_zip(archive, FILES)
    else:
        with tarfile.open(archive, "w" if suffix == ".tar" else "w:gz") as opened:
            opened.add(source, ".")
    unpack(archive, into)
    assert content(into) == FILES


OUTSIDE = ["../evil", "cats/../../evil", "/etc/evil", "..\\evil", "C:/evil", "C:\\evil"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_entries_outside_their_folder_are_refused_in_a_zip(tmp_path, into, content, name):
    archive = made_zip(tmp_path / "a.zip", {**FILES, name: b"evil"})
    refused(archive, into, content, "1 entries are unsafe:\n.*evil' would be written outside")


@pytest.mark.parametrize("name", OUTSIDE)
def test_entries_outside_their_folder_are_refused_in_a_tar(tmp_path, into, content, name):
    archive = made_tar(tmp_path / "a.tar", entry("cats/1.jpg"), entry(name))
    refused(archive, into, content, "1 entries are unsafe:\n.*evil' would be written outside")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused_in_a_tar(tmp_path, into, content, kind):
    special = entry("special", type=kind, linkname="/etc/passwd")
    archive = made_tar(tmp_path / "a.tar.gz", entry("cats/1.jpg"), special, mode="w:gz")
    refused(archive, into, content, "'special' is a link or a device")


def test_links_are_refused_in_a_zip(tmp_path, into, content):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cats/1.jpg", b"one")
        archive.writestr(link, "/etc/passwd")
    refused(tmp_path / "a.zip", into, content, "'link' is a link or a device")


def test_twenty_offenders_are_named_and_the_rest_counted(tmp_path, into, content):
    archive = made_zip(tmp_path / "a.zip", {f"../{n:02}": b"" for n in range(30)})
    refused(archive, into, content, r"30 entries are unsafe:\n(  .*\n){20}  \.\.\. and 10 more$")


def test_a_bomb_is_refused(tmp_path, into, content):
    declared = entry("bomb", size=3 * 10**9)  # its header says so; nobody has to write it
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(declared.tobuf() + bytes(10240))
    refused(tmp_path / "a.tar.gz", into, content, "a.tar.gz")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("bomb", b"0")
        archive.filelist[0].file_size = 3 * 10**9
    refused(tmp_path / "a.zip", into, content, "would unpack to 3000000000, over 200 times as many")


def test_more_than_the_disk_holds_is_refused(tmp_path, into, content):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("huge", b"0")
        archive.filelist[0].file_size = 10**18
    refused(tmp_path / "a.zip", into, content, "unpacks to 1000000000.0 GB and .* GB are free")


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("harm", ["text", "cut", "changed"])
def test_a_damaged_archive_is_one_message(tmp_path, into, suffix, harm):
    noise = {f"cats/{n}": os.urandom(3000) + b"a" * 3000 for n in range(20)}
    archive = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        made_zip(archive, noise)
    else:
        with tarfile.open(archive, "w" if suffix == ".tar" else "w:gz") as opened:
            for name, data in noise.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                opened.addfile(info, io.BytesIO(data))
    whole = archive.read_bytes()
    middle = len(whole) // 2
    if harm == "changed" and suffix == ".tar":
        middle -= middle % 512  # headers alone are checked in a plain tar
        whole = whole[:512] + b"\xff" * 30_000 + whole[30_512:]
    archive.write_bytes(
        {
            "text": b"<html>404 not found</html>",
            "cut": whole[:middle],
            "changed": whole[:middle] + bytes(200) + whole[middle + 200 :],
        }[harm]
    )
    with pytest.raises(UserError, match="cannot be unpacked: ."):
        unpack(archive, into)
