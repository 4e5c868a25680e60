"""The command as a process of its own: quick, quiet, and with exit codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thaw.cli.main import command

ROOT = Path(__file__).parents[3]


@pytest.fixture
def thaw(repository):
    """A function that starts `thaw` in the repository."""

    def start(*arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "thaw.cli.main", *arguments],
            cwd=repository.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # a shell's background jobs ignore Ctrl-C, and hand that down
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, ""),
        (
            ["predict", "gap", "nowhere"],
            1,
            "thaw: no such file or folder: nowhere (See `thaw predict --help`.)\n",
        ),
        (
            ["classify", "nowhere.jpg"],
            1,
            "thaw: no such file or folder: nowhere.jpg (See `thaw classify --help`.)\n",
        ),
    ],
)
def test_help_and_refusals_of_paths_wait_for_no_tensorflow(thaw, arguments, code, said):
    """Which takes seconds to import; the processor's time is bounded, since others use it too."""
    before = os.times()
    running = thaw(*arguments)
    _, errors = running.communicate()
    after = os.times()
    spent = sum(after[2:4]) - sum(before[2:4])
    assert (running.returncode, errors) == (code, said)
    assert spent < 1.5


def test_an_answer_has_nothing_beside_it_and_a_closed_pipe_is_no_error(thaw):
    running = thaw("predict", "cnn", "photos", "--csv")
    out, errors = running.communicate()
    assert (running.returncode, errors) == (0, "")
    assert out.startswith("file,class,probability,") and len(out.splitlines()) == 8
    running = thaw("predict", "cnn", "photos", "--csv")
    running.stdout.close()  # as `head` does
    errors = running.stderr.read()
    assert (running.wait(), errors) == (0, "")


def test_help_says_what_is_so(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # else names are broken at their hyphens
    said = {}
    for name in ("predict", "package", "export", "serve"):
        with pytest.raises(SystemExit):
            command([name, "--help"])
        said[name] = " ".join(capsys.readouterr().out.split())
    assert "or exports/MODEL-FORMAT-int8" in said["export"]
    assert "Bring pictures of 16 bits to 8 first" in said["package"]
    assert "Choose T on validation data; the report's slider" in said["predict"]
    assert "EXTRA" not in said["serve"], "make setup installs what it needs"


def test_arguments_that_are_none_are_explained(thaw):
    running = thaw("predict", "gap")
    _, errors = running.communicate()
    assert running.returncode == 2
    assert errors.endswith("the following arguments are required: IMAGE_OR_FOLDER\n")


def test_ctrl_c_ends_in_one_line_at_once(thaw, tmp_path):
    os.mkfifo(tmp_path / "slow.jpg")
    running = thaw("predict", "cnn", str(tmp_path / "slow.jpg"))
    with open(tmp_path / "slow.jpg", "w"):  # it has begun to read
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)
    assert running.returncode == 130
    assert errors.strip() == "thaw: interrupted."
