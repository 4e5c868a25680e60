"""Errors of `thaw verify` before it runs a stage; tests/faults/test_verify.py runs it."""

import os
import subprocess

import pytest

from thaw.cli.main import command
from thaw.errors import UserError


def test_an_uncommitted_lock_is_refused(tmp_path, monkeypatch):
    """`thaw verify` runs the last commit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    (tmp_path / "params.yaml").write_text("dataset: {source: {kind: folder}}\n")
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    own = ["git", "-c", "user.name=thaw", "-c", "user.email=thaw@localhost"]
    for arguments in (["init", "-q"], ["add", "params.yaml"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*own, *arguments], check=True)
    with pytest.raises(UserError) as error:
        command(["verify"])
    assert str(error.value) == (
        "expected a git repository with a dvc.lock here. Run dvc repro and commit."
    )
