import csv
import os
from pathlib import Path

import pytest
import yaml

from stages import scan
from thaw.errors import UserError

INVENTORY = "data/inventory.csv"


@pytest.fixture
def scanned(tmp_path, monkeypatch):
    """Return a function that scans the folder photos and returns the digest of each file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THAW_STORE", str(tmp_path / "store"))
    source = {"kind": "folder", "path": "photos"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"dataset": {"source": source}}))
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").write_text(name)

    def run() -> dict[str, str]:
        scan.main("folder")
        with open(INVENTORY, newline="") as file:
            return {row["path"]: row["sha256"] for row in csv.DictReader(file)}

    return run


def test_unchanged_files_are_not_read_again(scanned, monkeypatch):
    before = scanned()
    read = []
    monkeypatch.setattr("thaw.data.inventory.sha256", lambda path: read.append(path.name) or "read")
    assert scanned() == before and read == []
    os.utime("photos/cat/1.jpg")
    assert scanned() == {**before, "cat/1.jpg": "read"} and read == ["1.jpg"]


def test_swapped_files_of_equal_size_and_time_are_detected(scanned):
    """This happens when labels are corrected among files from one archive."""
    for name in ("cat", "dog"):
        os.utime(f"photos/{name}/1.jpg", (1, 1))
    before = scanned()
    os.rename("photos/cat/1.jpg", "photos/other")
    os.rename("photos/dog/1.jpg", "photos/cat/1.jpg")
    os.rename("photos/other", "photos/dog/1.jpg")
    assert scanned() == {"cat/1.jpg": before["dog/1.jpg"], "dog/1.jpg": before["cat/1.jpg"]}


def test_a_manifest_in_git_without_its_images_uses_the_recorded_inventory(scanned, monkeypatch):
    """Unless the manifest has changed: then its images are needed."""
    columns = dict.fromkeys(["path", "label", "split", "group", "confidence"])
    source = {"kind": "manifest", "path": "labels.csv", "images": "photos", "columns": columns}
    Path("params.yaml").write_text(yaml.safe_dump({"dataset": {"source": source}}))
    Path("labels.csv").write_text("id,label\ncat/1,x\ndog/1,y\n")
    before = scanned()
    assert list(before) == ["labels.csv", "images/cat/1.jpg", "images/dog/1.jpg"]
    recorded = Path(INVENTORY).read_bytes()
    monkeypatch.setattr(scan, "recorded_params", lambda _: {"dataset.source": source})
    monkeypatch.setattr(scan, "read_or_fetch_recorded", lambda *_: recorded)
    os.rename("photos", "elsewhere")
    assert scanned() == before
    Path("labels.csv").write_text("id,label\ncat/1,y\ndog/1,x\n")
    with pytest.raises(UserError, match="dataset.source.images = 'photos': no such file or folder"):
        scanned()


def test_only_files_that_the_source_selects_are_listed(scanned):
    source = {"kind": "folder", "path": "photos", "root": "cat", "exclude": ["*.txt"]}
    with open("params.yaml", "w") as file:
        yaml.safe_dump({"dataset": {"source": source}}, file)
    with open("photos/cat/notes.txt", "w") as file:
        file.write("left out")
    assert list(scanned()) == ["cat/1.jpg"]


def test_a_path_of_the_wrong_type_is_not_taken_for_missing_images(scanned):
    """Even if dvc.lock has an inventory for it."""
    source = {"kind": "folder", "path": "photos/cat/1.jpg"}
    Path("params.yaml").write_text(yaml.safe_dump({"dataset": {"source": source}}))
    with pytest.raises(UserError, match=r"'photos/cat/1.jpg': expected a folder or one of .zip"):
        scanned()
