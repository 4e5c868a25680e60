import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from thaw.data.raw import RawFiles, original_path
from thaw.data.registry import validate_source
from thaw.data.tree import list_files, locate
from thaw.errors import UserError
from thaw.sources.folder import Parameters, collect

FLAT = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"]


def parameters(path: Path | str, **values) -> Parameters:
    return Parameters(kind="folder", path=str(path), **values)


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

    def call(path: Path, **values) -> dict[str, tuple[str, str]]:
        into = tmp_path / "raw"
        into.mkdir()
        rows = collect(parameters(path, **values), into)
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


def test_image_suffixes_may_be_upper_case_and_other_files_are_ignored(
    make_folder, collected, capsys
):
    kinds = ["jpg", "JPEG", "Png", "BMP", "gif", "WebP", "TIF", "tiff"]
    folder = make_folder(
        *(f"cats/1.{kind}" for kind in kinds), "dogs/2.JPG", "README.txt", "cats/n.csv"
    )
    assert len(collected(folder)) == 9
    said = capsys.readouterr().out
    assert said.endswith(
        ": 2 classes, 9 images; ignored: 2 files that are no images (README.txt, cats/n.csv)\n"
    )


def test_leftovers_of_systems_are_ignored_and_counted(make_folder, collected, capsys):
    folder = make_folder(
        *FLAT,
        ".DS_Store",
        ".git/1.jpg",
        "cats/._1.jpg",
        "cats/Thumbs.db",
        "cats/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg",
        "dogs/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg",
        "dogs/.ipynb_checkpoints/1-checkpoint.jpg",
        "$RECYCLE.BIN/old.jpg",
        "#recycle/old.jpg",
        "lost+found/",
        "System Volume Information/1.jpg",
        "__MACOSX/cats/1.jpg",
        "desktop.ini",
    )
    assert len(collected(folder)) == 3
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and ": 2 classes, 3 images; ignored: " in said
    assert "2 thumbnails in @eaDir" in said and "1 images in $RECYCLE.BIN" in said
    assert "1 images in hidden files" in said and "1 images in .ipynb_checkpoints" in said


def test_other_folders_are_ignored_by_name(make_folder, collected, capsys):
    train = [f"train/{file}" for file in FLAT]
    assert len(collected(make_folder(*train, "annotations/a.xml", "docs/more/b.txt"))) == 3
    said = capsys.readouterr().out
    assert ": train/, 2 classes, 3 images; ignored: annotations/, docs/ without images\n" in said


def test_include_exclude_and_root_choose_images(make_folder, collected, tmp_path, capsys):
    kinds = [
        f"v1/{name}/{kind}/{n}.jpg" for name in "ab" for kind in ("images", "masks") for n in "12"
    ]
    folder = make_folder(*kinds, "v2/a/3.jpg", "v2/b/4.jpg", "v2/b/4_mask.jpg")
    for values, expected in (
        ({"root": "v1", "include": ["images"]}, "v1/a/images/1.jpg"),
        ({"exclude": ["v2", "masks"]}, "v1/a/images/1.jpg"),
        ({"include": ["v2/**"], "exclude": ["*_mask.jpg"]}, "v2/a/3.jpg"),
    ):
        rows = collected(folder, **values)
        assert rows[f"images/{expected}"] == ("a", "") and len(rows) in (2, 4)
        assert "images by root, include or exclude" in capsys.readouterr().out
        shutil.rmtree(tmp_path / "raw")
    with pytest.raises(UserError, match=r"root = 'v3': leaves no image of .*\n  v1\n"):
        collected(folder, root="v3")


def test_a_linked_class_folder_is_followed_once(make_folder, collected, tmp_path):
    folder = make_folder(*FLAT)
    shutil.move(folder / "cats", tmp_path / "elsewhere")
    (folder / "cats").symlink_to(tmp_path / "elsewhere")
    (folder / "dogs" / "again").symlink_to(folder)
    assert len(collected(folder)) == 3


def test_folders_that_share_their_images_by_links_are_all_read(make_folder):
    folder = make_folder(*(f"all/{file}" for file in FLAT))
    for split in ("train", "test"):
        (folder / split).symlink_to("all")
    assert {file.split("/")[0] for file in list_files(folder)} == {"all", "train", "test"}
    assert len(list_files(folder)) == 9


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
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


def test_names_with_a_carriage_return_are_refused(make_folder, tmp_path):
    folder = make_folder(*FLAT, "dogs\r/1.jpg")
    with pytest.raises(
        UserError, match=r"1 files of .*mine have .* a carriage return.*\n  'dogs\\r/1.j"
    ):
        collect(parameters(folder), tmp_path)


def test_names_that_are_not_utf8_are_refused(tmp_path):
    latin = {"format": tarfile.USTAR_FORMAT, "encoding": "latin-1"}
    with tarfile.open(tmp_path / "a.tar", "w", **latin) as archive:
        for name in (*FLAT, "dogs/\u00e9.jpg"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match=r"1 files of .*a.tar have names that are not UTF-8"):
        collect(parameters(tmp_path / "a.tar"), tmp_path / "raw")
    assert not list((tmp_path / "raw").iterdir())
    rows = collect(parameters(tmp_path / "a.tar", zip_encoding="latin-1"), tmp_path / "raw")
    assert "images.zip/dogs/\u00e9.jpg" in [row["path"] for row in rows]


REFUSED = {
    "no images": (["notes.txt"], "contains no images. Expected files that end in .jpg, .jpeg"),
    "archives inside": (["train.zip"], r"contains no images. .*Unpack the arch.*:\n  train.zip$"),
    "empty class": ([*FLAT, "birds/"], "1 classes of .* have no images.*:\n  birds\n"),
    "empty class in train": (
        ["train/cats/1.jpg", "train/dogs/1.jpg", "train/birds/", "test/cats/2.jpg"],
        "have no images.*:\n  train/birds\n",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_folders_are_refused_and_list_the_causes(make_folder, tmp_path, case):
    names, message = REFUSED[case]
    into = tmp_path / "raw"
    into.mkdir()
    with pytest.raises(UserError, match=message) as refusal:
        collect(parameters(make_folder(*names)), into)
    assert not list(into.iterdir())
    assert str(tmp_path / "mine") in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"root": "../other"}, "expected a sub-folder of dataset.source.path"),
        ({"label_pattern": "cat"}, "expected a regular expression with one group, not 0"),
        ({"label_pattern": "(cat"}, "expected a regular expression: missing"),
        ({"zip_encoding": "klingon"}, "expected an encoding such as cp932"),
        ({"layout": "flat"}, "'classes', 'splits/classes', 'classes/splits' or 'folders/classes'"),
    ],
)
def test_invalid_parameters_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        validate_source({"kind": "folder", "path": "mine", **values})


def test_queued_run_finds_folders_of_the_repository(tmp_path, monkeypatch):
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "photos").mkdir()
    assert locate("photos").resolve() == tmp_path / "photos"
    (tmp_path / "copy" / "photos").mkdir()  # tracked
    assert locate("photos").resolve() == tmp_path / "copy" / "photos"


def test_missing_paths_and_unknown_archives_are_refused(tmp_path):
    with pytest.raises(UserError, match="dataset.source.path = 'nowhere': no such file or folder"):
        collect(parameters("nowhere"), tmp_path)
    (tmp_path / "mine.rar").write_text("?")
    with pytest.raises(UserError, match=r"a folder or one of .zip, .tar, .tar.gz, .tgz, .tar.bz2"):
        collect(parameters(tmp_path / "mine.rar"), tmp_path)


def test_a_table_beside_images_without_class_folders_is_named(make_folder, tmp_path):
    folder = make_folder("train/1.jpg", "train/2.jpg", "labels.csv")
    command = f"-S dataset=manifest -S dataset.source.path={folder}/labels.csv"
    with pytest.raises(UserError, match=f"If labels.csv has the labels: {command}"):
        collect(parameters(folder), tmp_path)
