import shutil
from pathlib import Path

import pytest

from thaw.data.inventory import SourceNotHere
from thaw.data.raw import RawFiles, original_path
from thaw.errors import UserError
from thaw.sources.manifest import Parameters, collect, files


def parameters(path: Path | str, images: Path | str | None = None) -> Parameters:
    images = None if images is None else str(images)
    return Parameters(kind="manifest", path=str(path), images=images)


@pytest.fixture
def competition(tmp_path) -> Path:
    """Return a folder with labels.csv, which names the images in train/ without extension."""
    folder = tmp_path / "mine"
    (folder / "train").mkdir(parents=True)
    lines = ["id,diagnosis,patient_id"]
    for number in range(6):
        (folder / "train" / f"{number:04x}.jpg").write_text(f"train/{number:04x}.jpg")
        lines.append(f"{number:04x},{['benign', 'malignant'][number % 2]},{number // 2}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def collected(tmp_path):
    """Return a function that collects a source as {path in data/raw: (label, patient_id)}."""

    def call(source: Parameters) -> dict[str, tuple[str, str]]:
        into = tmp_path / "raw"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        rows = collect(source, into)
        on_disk = {p.relative_to(into).as_posix() for p in into.rglob("*") if p.is_file()}
        assert on_disk in ({"images.zip"}, {row["path"] for row in rows})
        with RawFiles(into) as raw:
            for row in rows:
                content = raw.read(row["path"]).decode()
                assert Path(content).name == Path(original_path(row["path"])).name
        return {row["path"]: (row["label"], row["patient_id"]) for row in rows}

    return call


def test_images_are_copied_with_their_labels_and_further_columns(competition, collected, capsys):
    rows = collected(parameters(competition / "labels.csv"))
    assert len(rows) == 6 and rows["images/train/0003.jpg"] == ("malignant", "1")
    output = capsys.readouterr().out
    assert "labels.csv: 6 rows, 6 images, 2 classes (path = id, without extension" in output
    assert "-S dataset.split.group=patient_id" in output
    assert collected(parameters(competition)) == rows  # the folder has one manifest


def test_images_may_be_elsewhere(competition, collected, tmp_path):
    (competition / "labels.csv").rename(tmp_path / "l.csv")
    rows = collected(parameters(tmp_path / "l.csv", competition / "train"))
    assert rows["images/0003.jpg"] == ("malignant", "1")
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", competition)
    rows = collected(parameters(tmp_path / "l.csv", archive))
    assert len(rows) == 6 and rows["images.zip/train/0003.jpg"] == ("malignant", "1")
    with pytest.raises(UserError, match=r"dataset.source.images = 'nowhere': no such file"):
        collected(parameters(tmp_path / "l.csv", "nowhere"))


@pytest.mark.parametrize("kind", ["zip", "gztar"])
@pytest.mark.parametrize("around", ["", "mine"])
def test_a_manifest_may_be_inside_an_archive(competition, collected, tmp_path, kind, around):
    archive = shutil.make_archive(str(tmp_path / "x"), kind, competition.parent if around else
                                  competition, around or None)  # fmt: skip
    rows = collected(parameters(archive))
    assert len(rows) == 6 and rows["images.zip/train/0002.jpg"] == ("benign", "1")
    assert files(parameters(archive)) == {Path(archive).name: Path(archive)}
    (competition / "labels.csv").write_text("id,label\n0,x\n1,y\n")
    broken = shutil.make_archive(str(tmp_path / "x"), kind, competition)
    with pytest.raises(UserError, match=f"name files that are not in {broken}"):
        collected(parameters(broken))
    assert not list((tmp_path / "raw").iterdir())


def test_the_inventory_has_the_manifest_and_the_images_that_it_names(competition):
    (competition / "train" / "unlisted.jpg").touch()
    listed = files(parameters(competition / "labels.csv"))
    assert set(listed) == {"labels.csv", *(f"images/train/{n:04x}.jpg" for n in range(6))}
    assert all(path.is_file() for path in listed.values())
    with pytest.raises(SourceNotHere):
        files(parameters(competition / "other.csv"))
    (competition / "notes.xlsx").touch()
    with pytest.raises(UserError, match="notes.xlsx': expected a folder or one of .zip.* .parquet"):
        files(parameters(competition / "notes.xlsx"))
    shutil.rmtree(competition / "train")
    with pytest.raises(SourceNotHere) as error:
        files(parameters(competition / "labels.csv"))
    assert set(error.value.here) == {"labels.csv"}


def test_what_the_pipeline_writes_into_the_folder_is_never_an_image(competition, collected):
    """A manifest in the repository's root must mean the same after the first run."""
    (competition / "dvc.yaml").touch()
    (competition / "data/raw/images/train").mkdir(parents=True)
    shutil.copy(competition / "train/0001.jpg", competition / "data/raw/images/train/0001.jpg")
    assert "images/train/0001.jpg" in collected(parameters(competition / "labels.csv"))
