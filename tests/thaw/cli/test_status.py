"""`thaw status`, on a project of two stages."""

import json

import pytest
import yaml
from dvc.repo import Repo

from thaw.cli.status import status
from thaw.errors import UserError

STAGES = {
    "train": {
        "cmd": "cp data.txt model.txt",
        "deps": ["data.txt"],
        "params": ["head.dropout"],
        "outs": ["model.txt"],
    },
    "evaluate": {"cmd": "cp model.txt result.txt", "deps": ["model.txt"], "outs": ["result.txt"]},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.txt").write_text("data")
    (tmp_path / "params.yaml").write_text("head: {dropout: 0.5}\n")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    with Repo.init(no_scm=True) as repo:
        repo.reproduce()
    return tmp_path


def printed(capsys) -> str:
    capsys.readouterr()
    assert status() == 0
    return capsys.readouterr().out


def test_nothing_would_run(project, capsys):
    assert printed(capsys) == "`dvc repro` would run 0 of 2 stages.\n"


def test_a_changed_parameter_is_shown_with_both_values_and_what_follows(project, capsys):
    (project / "params.yaml").write_text("head: {dropout: 0.3}\n")
    assert printed(capsys) == (
        "train:\n"
        "  parameter head.dropout changed from 0.5 to 0.3\n"
        "evaluate:\n"
        "  runs after train\n"
        "`dvc repro` would run 2 of 2 stages.\n"
    )


def test_a_changed_file_and_a_missing_output_are_named(project, capsys):
    (project / "data.txt").write_text("other")
    (project / "result.txt").unlink()
    said = printed(capsys)
    assert "train:\n  data.txt is modified\n" in said
    assert "evaluate:\n  its output result.txt is missing\n  runs after train\n" in said


def test_durations_of_other_pipelines_are_not_known_until_they_are_recorded(project, capsys):
    (project / "params.yaml").write_text("head: {dropout: 0.3}\n")
    (project / "logs").mkdir()
    line = {"stage": "evaluate", "started": "2026-11-28", "seconds": 2.0, "exit": 0}
    (project / "logs/runs.jsonl").write_text(json.dumps(line))
    capsys.readouterr()
    assert status(durations=True) == 0
    assert capsys.readouterr().out == (
        "train     not known\n"
        "evaluate  about 2 s, as last time\n"
        "Together more than 2 s (1 of 2 stages not known), if this machine does nothing else. "
        "Downloads take longer, results in DVC's cache no time.\n"
        "`dvc repro` would run 2 of 2 stages.\n"
    )


def test_a_folder_without_dvc_yaml_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no dvc.yaml here"):
        status()
