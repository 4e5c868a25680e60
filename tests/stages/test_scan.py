import csv
import os

import pytest
import yaml

from stages import scan

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


def test_only_files_that_the_source_selects_are_listed(scanned):
    source = {"kind": "folder", "path": "photos", "root": "cat", "exclude": ["*.txt"]}
    with open("params.yaml", "w") as file:
        yaml.safe_dump({"dataset": {"source": source}}, file)
    with open("photos/cat/notes.txt", "w") as file:
        file.write("left out")
    assert list(scanned()) == ["cat/1.jpg"]
