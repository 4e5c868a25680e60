import json
from pathlib import Path

import pytest

from thaw.data.manifest.table import MAX_CELL, read_manifest_file
from thaw.errors import UserError


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a manifest and returns its columns and rows."""

    def call(content: str | bytes, name: str = "labels.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        table = read_manifest_file(path, name)
        return table.columns, table.rows

    return call


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_delimiter_line_ends_and_byte_order_mark_are_detected(read, delimiter, ends, start):
    lines = ["file,label", '"a, 1; b|x.jpg",cat', "", "c.jpg,dog", ""]
    text = ends.join(lines).replace(",", delimiter).replace(f"a{delimiter}", "a,")
    assert read(start + text.encode()) == (
        ["file", "label"],
        [["a, 1; b|x.jpg", "cat"], ["c.jpg", "dog"]],
    )


def test_cells_stay_text_without_spaces_around_them(read):
    names = ["NA", "null", "None", "nan", "1", "1.0", "007", "1e3", "true", ""]
    text = "file, label\n" + "\n".join(f"x.jpg, {name}" for name in names)
    assert [row[1] for row in read(text)[1]] == names
    lines = [json.dumps({"file": "x", "label": name}) for name in names]
    lines += ['{"label": 1}', '{"label": 1.0}', '{"label": 1e3}', '{"label": true, "file": null}']
    columns, rows = read("\n".join(lines), "labels.jsonl")
    assert columns == ["file", "label"]
    assert [row[1] for row in rows] == [*names, "1", "1.0", "1e3", "true"]
    assert rows[-1][0] == ""


def test_parquet_files_give_the_same_text(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    values = {
        "file": ["a", "b", "c"],
        "label": [1.0, None, 0.0],  # as pandas stores integers with missing values
        "name": arrow.array(["NA", None, "None"]).dictionary_encode(),
        "image": [{"bytes": b"x", "path": "a"}] * 3,
        "half": [0.5, float("nan"), 1.25],
    }
    parquet.write_table(arrow.table(values), tmp_path / "x.parquet")
    table = read_manifest_file(tmp_path / "x.parquet", "x.parquet")
    assert table.columns == ["file", "label", "name", "half"]
    assert table.rows == [["a", "1", "NA", "0.5"], ["b", "", "", ""], ["c", "0", "None", "1.25"]]
    assert table.notes == ["left out image: lists, objects or bytes"]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="bad.parquet is no readable Parquet file"):
        read_manifest_file(tmp_path / "bad.parquet", "bad.parquet")


def test_columns_that_no_table_can_have_are_left_out_with_a_note(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text(f",file,mask\n0,a.jpg,{'1' * (MAX_CELL + 1)}\n")
    table = read_manifest_file(path, "l.csv")
    assert (table.columns, table.rows) == (["file"], [["a.jpg"]])
    assert table.notes == [
        "left out mask: over 10,000 characters",
        "left out 1 column without a name",
    ]
    path = tmp_path / "l.jsonl"
    path.write_text('{"file": "a.jpg", "boxes": [[1, 2]]}\n{"file": "b.jpg"}\n')
    table = read_manifest_file(path, "l.jsonl")
    assert (table.columns, table.rows) == (["file"], [["a.jpg"], ["b.jpg"]])
    assert table.notes == ["left out boxes: lists, objects or bytes"]


REFUSED = {
    "other encoding": ("file,label\nä.jpg,x".encode("latin-1"), "byte 0xe4 in line 2 is not UTF-8"),
    "UTF-16": ("file,label".encode("utf-16"), "labels.csv is UTF-16: .* iconv -f UTF-16 -t UTF-8"),
    "empty": ("\n\n", "labels.csv is empty. Expected a header"),
    "only a header": ("file,label\n", "labels.csv has no rows"),
    "short rows": ("file,label\na.jpg\nb.jpg,x\n", "1 rows of .* 2 columns .*\n  line 2: 1 cells"),
    "open quote": (
        'file,label\n"a.jpg,x\nb.jpg,x\n',
        "labels.csv, line 3: unexpected end: a quote",
    ),
    "columns with one name": ("file,label,label\na,x,y\n", "several columns named 'label'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_cannot_be_read_are_refused_with_their_place(read, case):
    content, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        read(content)


def test_json_lines_must_be_objects(read):
    with pytest.raises(UserError, match="labels.jsonl, line 2: it is no object"):
        read('{"file": "a"}\n[1]\n', "labels.jsonl")
    with pytest.raises(UserError, match="labels.jsonl, line 1: Expecting property name"):
        read("{file: 1}\n", "labels.jsonl")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="l.csv cannot be read: No such file"):
        read_manifest_file(Path(tmp_path / "l.csv"), "l.csv")
