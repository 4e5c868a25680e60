"""Random manifests: every row and image is used, ignored with a message or refused by name."""

import csv
import re
import shutil
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thaw.data.manifest.columns import Columns, split_of
from thaw.data.manifest.reading import read_manifest
from thaw.errors import UserError

FOLDERS = st.sampled_from(["", "", "train/", "images/", "test/a b/"])
STEMS = st.text("abc01-_é", min_size=1, max_size=4)
FILES = st.builds("".join, st.tuples(FOLDERS, STEMS, st.sampled_from([".jpg", ".png", ".x.JPG"])))
LABELS = st.sampled_from(["cat", "dog", "0", "1", "NA", "None", "train", "a,b", "ü;", ""])
SPLITS = st.sampled_from(["train", "Train", "training", "val", "test"])
FAULTS = st.sampled_from(["", "", "", "missing", "label", "split", "no split"])


@st.composite
def manifests(draw) -> tuple[list[str], list[list[str]], bool]:
    """Draw files, the rows of a manifest that names some of them, and whether it is faulty."""
    files = draw(st.lists(FILES, min_size=2, max_size=8, unique_by=str.lower))
    named = draw(st.lists(st.sampled_from(files), min_size=2, max_size=10))
    cells = {file: [draw(LABELS), draw(SPLITS), draw(st.sampled_from("pqr"))] for file in files}
    rows = []
    for file in named:
        name = file if draw(st.booleans()) else file.rpartition(".")[0]
        rows.append([name, *cells[file]])
    fault = draw(FAULTS)
    if fault == "missing":
        rows[-1][0] = "gone.jpg"
    elif fault == "label":
        rows.append([*rows[0]])
        rows[-1][1] = "another"
    elif fault:
        rows[-1][2] = "odd" if fault == "split" else ""
    return files, rows, bool(fault)


def write(
    folder: Path, files: list[str], rows: list[list[str]], delimiter: str, split: str
) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    with open(folder / "labels.csv", "w", newline="") as opened:
        table = csv.writer(opened, delimiter=delimiter)
        table.writerow(["file_name", "label", split, "patient_id"])
        table.writerows(rows)
    return folder / "labels.csv"


@given(
    drawn=manifests(), delimiter=st.sampled_from(",;\t"), split=st.sampled_from(["split", "note"])
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_and_images_add_up(tmp_path, drawn, delimiter, split):
    files, rows, faulty = drawn
    path = write(tmp_path / "mine", files, rows, delimiter, split)
    labels = {row[1] for row in rows} - {""}
    try:
        _, manifest = read_manifest([path], None, Columns(), "mine", "mine")
    except UserError as error:
        ambiguous = len({file.rpartition(".")[0] for file in files}) < len(files)
        trained = split == "note" or any(split_of(row[2]) == "train" and row[1] for row in rows)
        no_files = all(row[0] == "gone.jpg" for row in rows)
        assert faulty or ambiguous or len(labels) < 2 or not trained or no_files, error
        assert "labels.csv" in str(error)
        return
    assert len(labels) >= 2 and not all(map(split_of, labels))
    notes = "\n".join(manifest.notes)
    by_path = {row["path"]: row for row in manifest.rows}
    assert len(by_path) == len(manifest.rows) and by_path.keys() <= set(files)
    merged = re.search(r"merged (\d+) rows", notes)
    assert len(rows) == len(by_path) + int(merged[1] if merged else 0)
    ignored = re.search(r"ignored (\d+) images", notes)
    assert len(files) == len(by_path) + int(ignored[1] if ignored else 0)
    for name, label, given_split, patient in rows:
        found = by_path.get(name) or next(
            row for file, row in by_path.items() if file.rpartition(".")[0] == name
        )
        assert (found["label"], found["patient_id"]) == (label, patient)
        assert found["split"] == ((split_of(given_split) or "") if split == "split" else "")
    unlabelled = sum(row["label"] == "" for row in manifest.rows)
    assert (f"{unlabelled} images have no label" in notes) == (unlabelled > 0)
