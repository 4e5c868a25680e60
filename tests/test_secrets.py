"""Secrets of remotes stay out of git."""

import subprocess
import sys


def test_what_dvc_keeps_locally_is_ignored_by_git(tmp_path):
    from tests.conftest import ROOT

    for name in (".gitignore", ".dvc/.gitignore", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    def call(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout

    call("git", "init", "--quiet")
    dvc = (sys.executable, "-m", "dvc", "remote")
    call(*dvc, "add", "team", "s3://bucket/thaw")
    call(*dvc, "modify", "--local", "team", "secret_access_key", "verysecret")
    assert "verysecret" in (tmp_path / ".dvc/config.local").read_text()
    assert call("git", "check-ignore", ".dvc/config.local").strip() == ".dvc/config.local"
    call("git", "add", "--all")
    assert "verysecret" not in call("git", "diff", "--cached")
    assert ".dvc/config.local" not in call("git", "ls-files")
    assert "bucket/thaw" in call("git", "diff", "--cached"), "the remote itself is shared"
