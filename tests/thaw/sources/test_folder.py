import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from thaw.data.class_folders import layout, list_files, locate, read_layout
from thaw.data.raw import RawFiles, original_path
from thaw.errors import UserError
from thaw.sources.folder import Parameters, collect

FLAT = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"]


def parameters(path: Path | str) -> Parameters:
    return Parameters(kind="folder", path=str(path))


@pytest.fixture
def make_folder(tmp_path):
    """Return a function that creates a folder with these files; names in / are folders."""

    def make(*names: str) -> Path:
        folder = tmp_path / "mine"
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir() if name.endswith("/") else target.write_text(name)
        return folder

    return make


@pytest.fixture
def collected(tmp_path):
    """Return a function that collects a path as {path in data/raw: (label, split)}."""

    def call(path: Path) -> dict[str, tuple[str, str]]:
        into = tmp_path / "raw"
        into.mkdir()
        rows = collect(parameters(path), into)
        on_disk = {p.relative_to(into).as_posix() for p in into.rglob("*") if p.is_file()}
        packed = not path.is_dir()
        assert on_disk == ({"images.zip"} if packed else {row["path"] for row in rows})
        with RawFiles(into) as raw:
            for row in rows:
                assert raw.read(row["path"]).decode() == original_path(row["path"])
        return {row["path"]: (row["label"], row["split"]) for row in rows}

    return call


def test_class_folders_give_the_labels(make_folder, collected):
    assert collected(make_folder(*FLAT)) == {
        "images/cats/1.jpg": ("cats", ""),
        "images/cats/2.jpg": ("cats", ""),
        "images/dogs/1.jpg": ("dogs", ""),
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("val", "validation"),
        ("VALID", "validation"),
        ("validation", "validation"),
        ("Test", "test"),
        ("testing", "test"),
    ],
)
def test_split_folders_may_have_their_common_names(make_folder, collected, name, split):
    other = "train" if split != "train" else "test"
    rows = collected(
        make_folder(*(f"{folder}/{file}" for folder in (name, other) for file in FLAT))
    )
    assert rows[f"images/{name}/cats/1.jpg"] == ("cats", split)
    assert rows[f"images/{other}/dogs/1.jpg"] == ("dogs", other)
    assert len(rows) == 6


def test_nested_folders_belong_to_their_class_folder(make_folder, collected):
    rows = collected(make_folder("cats/a/b/1.jpg", "cats/2.jpg", "dogs/c/3.jpg"))
    assert [label for label, _ in rows.values()] == ["cats", "cats", "dogs"]
    split = layout(["train/cats/a/1.jpg", "train/dogs/2.jpg"], [], False, "mine")
    assert [row["label"] for row in split] == ["cats", "dogs"]


def test_image_suffixes_may_be_upper_case_and_other_files_are_skipped(
    make_folder, collected, capsys
):
    kinds = ["jpg", "JPEG", "Png", "BMP", "gif", "WebP", "TIF", "tiff"]
    folder = make_folder(
        *(f"cats/1.{kind}" for kind in kinds), "dogs/2.JPG", "README.txt", "cats/n.csv"
    )
    assert len(collected(folder)) == 9
    assert "Skipped 2 files that are no images: README.txt, cats/n.csv" in capsys.readouterr()[0]


def test_hidden_files_and_folders_are_ignored(make_folder, collected):
    folder = make_folder(*FLAT, ".DS_Store", ".git/1.jpg", "cats/._1.jpg", "__MACOSX/cats/1.jpg")
    assert len(collected(folder)) == 3


def test_a_linked_class_folder_is_followed_once(make_folder, collected, tmp_path):
    folder = make_folder(*FLAT)
    shutil.move(folder / "cats", tmp_path / "elsewhere")
    (folder / "cats").symlink_to(tmp_path / "elsewhere")
    (folder / "dogs" / "again").symlink_to(folder)
    assert len(collected(folder)) == 3


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
@pytest.mark.parametrize("around", ["", "mine/", "mine/v1/"])
def test_archive_is_read_like_a_folder_with_or_without_outer_folders(
    make_folder, collected, kind, around
):
    folder = make_folder(
        *(f"{around}{split}/{file}" for split in ("train", "test") for file in FLAT)
    )
    archive = shutil.make_archive(str(folder), kind, folder)
    rows = collected(Path(archive))
    assert len(rows) == 6 and rows[f"images.zip/{around}train/cats/1.jpg"] == ("cats", "train")


def test_archive_may_have_one_folder_around_the_classes(make_folder, collected):
    folder = make_folder(*(f"mine/{file}" for file in FLAT))
    rows = collected(Path(shutil.make_archive(str(folder), "zip", folder)))
    assert rows["images.zip/mine/dogs/1.jpg"] == ("dogs", "")


def test_collected_archive_does_not_depend_on_the_archive_format(make_folder, collected):
    folder = make_folder(*FLAT, "README.txt")
    archives = [shutil.make_archive(str(folder), kind, folder) for kind in ("zip", "gztar")]
    kept = []
    for archive in archives:
        collected(Path(archive))
        kept.append((folder.parent / "raw" / "images.zip").read_bytes())
        shutil.rmtree(folder.parent / "raw")
    assert kept[0] == kept[1]


def test_unreadable_folders_are_refused(make_folder, monkeypatch):
    folder, original = make_folder(*FLAT), os.scandir

    def scandir(path):  # root can list every folder
        if Path(path).name == "dogs":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        UserError, match="dogs cannot be listed: Permission denied. Make it readable"
    ):
        list_files(folder)


def test_names_with_a_carriage_return_are_refused(make_folder):
    folder = make_folder(*FLAT, "dogs\r/1.jpg")
    with pytest.raises(
        UserError, match=r"1 files of it have .* a carriage return.*\n  'dogs\\r/1.j"
    ):
        read_layout(folder, False, "it")


def test_names_that_are_not_utf8_are_refused(tmp_path):
    latin = {"format": tarfile.USTAR_FORMAT, "encoding": "latin-1"}
    with tarfile.open(tmp_path / "a.tar", "w", **latin) as archive:
        for name in (*FLAT, "dogs/\u00e9.jpg"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match=r"1 files of .*a.tar have names that are not UTF-8"):
        collect(parameters(tmp_path / "a.tar"), tmp_path / "raw")
    assert not list((tmp_path / "raw").iterdir())


REFUSED = {
    "no images": (["notes.txt"], "contains no images. Expected files that end in .jpg, .jpeg"),
    "one class": (["cats/1.jpg", "cats/2.jpg"], "has one class, 'cats'. Expected two or more"),
    "empty class": ([*FLAT, "birds/"], "1 classes of .* have no images:\n  birds$"),
    "empty class in a split": (
        ["train/cats/1.jpg", "train/dogs/1.jpg", "train/birds/", "test/cats/2.jpg"],
        "have no images:\n  train/birds$",
    ),
    "images outside class folders": (
        [*FLAT, "1.jpg", "2.jpg"],
        "2 images are in no class folder of .*:\n  1.jpg\n  2.jpg$",
    ),
    "images outside class folders of a split": (
        [*(f"train/{file}" for file in FLAT), "train/9.jpg"],
        "1 images are in no class folder of .*:\n  train/9.jpg$",
    ),
    "splits beside classes": (
        [*FLAT, *(f"train/{file}" for file in FLAT)],
        r"mixes split folders \(train\) with others. .*:\n  cats\n  dogs$",
    ),
    "no train folder": ([f"test/{file}" for file in FLAT], "has test but no train/ to train on"),
    "split without one of the classes": (
        [*(f"train/{file}" for file in FLAT), "test/cats/1.jpg"],
        "every split must contain every class:\n  test/ lacks dogs$",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_layouts_are_refused_and_list_the_causes(make_folder, tmp_path, case):
    names, message = REFUSED[case]
    into = tmp_path / "raw"
    into.mkdir()
    with pytest.raises(UserError, match=message) as refusal:
        collect(parameters(make_folder(*names)), into)
    assert not list(into.iterdir())
    assert str(tmp_path / "mine") in str(refusal.value)


def test_message_lists_twenty_images_and_counts_the_rest():
    stray = [f"{n:02}.jpg" for n in range(25)]
    with pytest.raises(
        UserError, match=r"25 images are in no class folder(.*\n){21}.* and 5 more$"
    ):
        layout([*stray, *FLAT], [], False, "mine")


def test_queued_run_finds_folders_of_the_repository(tmp_path, monkeypatch):
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "photos").mkdir()
    assert locate("photos").resolve() == tmp_path / "photos"
    (tmp_path / "copy" / "photos").mkdir()  # tracked
    assert locate("photos").resolve() == tmp_path / "copy" / "photos"


def test_missing_paths_and_unknown_archives_are_refused(tmp_path):
    with pytest.raises(
        UserError, match="dataset.source.path = 'nowhere': no such folder or archive"
    ):
        collect(parameters("nowhere"), tmp_path)
    (tmp_path / "mine.rar").write_text("?")
    with pytest.raises(UserError, match=r"expected a folder or one of .zip, .tar, .tar.gz, .tgz"):
        collect(parameters(tmp_path / "mine.rar"), tmp_path)
