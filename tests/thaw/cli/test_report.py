"""`thaw report` on damaged results: one message that names the file, and no traceback."""

import hashlib
import json

import pytest
from dvc.utils.serialize import dump_yaml

from thaw.cli.main import command
from thaw.errors import UserError


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Return a folder of files that dvc.lock records, with params.yaml beside them."""
    monkeypatch.chdir(tmp_path)
    files = {
        "results/details/cnn.json": {"classes": ["a", "b"], "metrics": {"accuracy": 0.5}},
        "results/metrics/cnn.json": {"accuracy": 0.5},
    }
    outs = []
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
        outs.append({"path": name, "md5": hashlib.md5(path.read_bytes()).hexdigest()})
    dump_yaml("dvc.lock", {"stages": {"evaluate@cnn": {"outs": outs}}})
    dump_yaml("params.yaml", {"networks": {"cnn": {}}})
    return tmp_path / "results"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null"])
@pytest.mark.parametrize("name", ["details", "metrics"])
def test_a_damaged_file_is_named(results, name, content):
    path = results / name / "cnn.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name}/cnn.json(:| has the MD5| cannot be read).*dvc "):
        command(["report"])


def test_files_of_another_version_of_thaw_are_not_called_damaged(results):
    """They lack keys that this version reads."""
    with pytest.raises(UserError, match=r"cannot be shown \(KeyError.*`dvc repro`, then `thaw rep"):
        command(["report"])


def test_a_damaged_lock_is_named(results):
    (results.parent / "dvc.lock").write_text("stages: [")
    with pytest.raises(UserError, match="dvc.lock cannot be read: .*`git checkout dvc.lock` rest"):
        command(["report"])
