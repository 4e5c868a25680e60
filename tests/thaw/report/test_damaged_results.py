"""Damaged, edited and foreign result files give one message that names the file."""

from pathlib import Path

import pytest

from thaw.api import read_metrics
from thaw.errors import UserError
from thaw.evaluation.predictions import read_predictions
from thaw.report.changes import since_commit
from thaw.report.run_results import read_table
from thaw.report.searches import read_search

READERS = {
    "data/index.csv": read_table,
    "results/searches/m/trials.csv": lambda: read_search("m"),
    "results/predictions/m/predictions.csv": lambda: read_predictions(
        Path("results/predictions/m")
    ),
    "results/metrics/m.json": since_commit,
    "results/metrics/other.json": read_metrics,
}
CONTENTS = {
    "empty": b"",
    "text": b"hello\n",
    "not UTF-8": b"pixel_sha256,label\n\xe9,\xff\n",
    "conflict markers": b"<<<<<<< HEAD\na,b\n=======\na\n>>>>>>> other\n",
    "zeros": bytes(100),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("file", READERS)
def test_damaged_files_are_named(file, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(file).parent.mkdir(parents=True)
    for path in {file, file.replace("index", "split")}:
        Path(path).write_bytes(content)
    with pytest.raises(UserError, match=f"^{file} .*restores it"):
        READERS[file]()


def test_predictions_that_are_no_numbers_are_refused(tmp_path):
    header = "pixel_sha256,label,predicted,probability of a\n"
    (tmp_path / "predictions.csv").write_text(f"{header}00,a,a,much\n")
    with pytest.raises(UserError, match=r"predictions.csv: .*much.*Expected probabilities"):
        read_predictions(tmp_path)
