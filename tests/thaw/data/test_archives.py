import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from thaw.data.archives import is_archive, unpack
from thaw.errors import UserError

FILES = {"cats/1.jpg": b"one", "cats/deep/2.jpg": b"two", "dogs/3.jpg": b"three"}


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "out" / "into"
    folder.mkdir(parents=True)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, *entries: tarfile.TarInfo, mode: str = "w") -> Path:
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


def assert_refused(archive, into, content, match: str) -> None:
    """Assert that unpacking fails and that nothing was written in `into` or beside it."""
    with pytest.raises(UserError, match=match):
        unpack(archive, into)
    assert content(into.parent) == {}


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".TGZ", ".tar.bz2", ".txz"])
def test_unpack_writes_the_files_of_each_archive_format(tmp_path, into, content, suffix):
    source = tmp_path / "source"
    for name, data in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    archive = tmp_path / f"images{suffix}"
    assert is_archive(archive)
    if suffix == ".zip":
        write_zip(archive, FILES)
    else:
        compression = {".tar": "", ".tar.bz2": ":bz2", ".txz": ":xz"}.get(suffix, ":gz")
        with tarfile.open(archive, f"w{compression}") as opened:
            opened.add(source, ".")
    unpack(archive, into)
    assert content(into) == FILES


def test_backslashes_separate_folders(tmp_path, into, content):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in {"cats\\": b"", "cats\\1.jpg": b"one", "dogs\\2.jpg": b"two"}.items():
            member = zipfile.ZipInfo("x")
            member.filename = name  # its constructor keeps backslashes only on some systems
            archive.writestr(member, data)
    write_tar(tmp_path / "a.tar", entry("owls\\3.jpg"))
    unpack(tmp_path / "a.zip", into)
    unpack(tmp_path / "a.tar", into)
    assert content(into) == {"cats/1.jpg": b"one", "dogs/2.jpg": b"two", "owls/3.jpg": b"x"}


def write_foreign_zip(path: Path, name: str, encoding: str) -> Path:
    """Write a zip archive whose one name is in this encoding, without a flag for UTF-8."""
    raw = name.encode(encoding)
    placeholder = "?" * len(raw)
    write_zip(path, {placeholder: b"one"})
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), raw))
    return path


@pytest.mark.parametrize("encoding", ["cp932", "gbk", "cp866"])
def test_names_in_other_encodings_are_read(tmp_path, into, content, capsys, encoding):
    name = "кот/1.jpg" if encoding == "cp866" else "猫/1.jpg"
    unpack(write_foreign_zip(tmp_path / "a.zip", name, encoding), into, encoding)
    assert content(into) == {name: b"one"}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("written", "read_as", "expected"), [("utf-8", "utf-8", "猫"), ("cp932", "cp437", "öL")]
)
def test_names_without_a_declared_encoding_are_reported(
    tmp_path, into, content, capsys, written, read_as, expected
):
    unpack(write_foreign_zip(tmp_path / "a.zip", "猫/1.jpg", written), into)
    assert content(into) == {f"{expected}/1.jpg": b"one"}
    assert f"are read as {read_as}, such as {expected}/1.jpg. If" in capsys.readouterr().out


OUTSIDE = ["../evil", "cats/../../evil", "/etc/evil", "..\\evil", "C:/evil", "C:\\evil"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_zip_entries_outside_the_target_folder_are_refused(tmp_path, into, content, name):
    archive = write_zip(tmp_path / "a.zip", {**FILES, name: b"evil"})
    assert_refused(
        archive, into, content, "has 1 unsafe entries and .*:\n.*evil' would be written outside"
    )


@pytest.mark.parametrize("name", OUTSIDE)
def test_tar_entries_outside_the_target_folder_are_refused(tmp_path, into, content, name):
    archive = write_tar(tmp_path / "a.tar", entry("cats/1.jpg"), entry(name))
    assert_refused(
        archive, into, content, "has 1 unsafe entries and .*:\n.*evil' would be written outside"
    )


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, into, content, kind):
    special = entry("special", type=kind, linkname="/etc/passwd")
    archive = write_tar(tmp_path / "a.tar.gz", entry("cats/1.jpg"), special, mode="w:gz")
    assert_refused(archive, into, content, "'special' is a link or a device")


def test_links_in_a_zip_are_refused(tmp_path, into, content):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cats/1.jpg", b"one")
        archive.writestr(link, "/etc/passwd")
    assert_refused(tmp_path / "a.zip", into, content, "'link' is a link or a device")


def test_message_lists_twenty_unsafe_entries_and_counts_the_rest(tmp_path, into, content):
    archive = write_zip(tmp_path / "a.zip", {f"../{n:02}": b"" for n in range(30)})
    assert_refused(
        archive, into, content, r"has 30 unsafe entries and .*:\n(  .*\n){20}  \.\.\. and 10 more$"
    )


def test_decompression_bombs_are_refused(tmp_path, into, content):
    declared = entry("bomb", size=3 * 10**9)  # only its header says so; there is no content
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(declared.tobuf() + bytes(10240))
    assert_refused(tmp_path / "a.tar.gz", into, content, "a.tar.gz")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("bomb", b"0")
        archive.filelist[0].file_size = 3 * 10**9
    assert_refused(
        tmp_path / "a.zip", into, content, "would unpack to 3000000000, over 200 times as many"
    )


def test_archives_larger_than_the_free_disk_space_are_refused(tmp_path, into, content):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("huge", b"0")
        archive.filelist[0].file_size = 10**18
    assert_refused(
        tmp_path / "a.zip", into, content, "unpacks to 1000000000.0 GB, but only .* GB are free"
    )


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("damage", ["text", "cut", "changed"])
def test_damaged_archives_give_a_single_message(tmp_path, into, suffix, damage):
    noise = {f"cats/{n}": os.urandom(3000) + b"a" * 3000 for n in range(20)}
    archive = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        write_zip(archive, noise)
    else:
        with tarfile.open(archive, f"w:{suffix[5:]}") as opened:
            for name, data in noise.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                opened.addfile(info, io.BytesIO(data))
    intact = archive.read_bytes()
    middle = len(intact) // 2
    if damage == "changed" and suffix == ".tar":
        middle -= middle % 512  # a plain tar has checksums only in its headers
        intact = intact[:512] + b"\xff" * 30_000 + intact[30_512:]
    archive.write_bytes(
        {
            "text": b"<html>404 not found</html>",
            "cut": intact[:middle],
            "changed": intact[:middle] + bytes(200) + intact[middle + 200 :],
        }[damage]
    )
    with pytest.raises(UserError, match="cannot be unpacked: ."):
        unpack(archive, into)
