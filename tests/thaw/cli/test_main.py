"""The command line in a separate process: start-up time, output and exit codes."""

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
            # background jobs of a shell ignore Ctrl-C, and so do their children
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
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
def test_help_and_errors_of_paths_do_not_import_tensorflow(thaw, arguments, code, message):
    """The import takes seconds. Processor time is bounded, because other processes run too."""
    before = os.times()
    running = thaw(*arguments)
    _, errors = running.communicate()
    after = os.times()
    spent = sum(after[2:4]) - sum(before[2:4])
    assert (running.returncode, errors) == (code, message)
    assert spent < 1.5


def test_output_has_predictions_only_and_a_closed_pipe_is_no_error(thaw):
    running = thaw("predict", "cnn", "photos", "--csv")
    out, errors = running.communicate()
    assert (running.returncode, errors) == (0, "")
    assert out.startswith("file,class,probability,") and len(out.splitlines()) == 8
    running = thaw("predict", "cnn", "photos", "--csv")
    running.stdout.close()  # as `head` does
    errors = running.stderr.read()
    assert (running.wait(), errors) == (0, "")


def test_help_describes_each_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # narrower output breaks names at their hyphens
    texts = {}
    for name in ("predict", "package", "export", "serve"):
        with pytest.raises(SystemExit):
            command([name, "--help"])
        texts[name] = " ".join(capsys.readouterr().out.split())
    assert "or exports/MODEL-FORMAT-int8" in texts["export"]
    assert "Reduce images of 16 bits to their upper 8 bits first" in texts["package"]
    assert "Choose T on validation data; the report's slider" in texts["predict"]
    assert "EXTRA" not in texts["serve"], "make setup installs what it needs"


def test_missing_arguments_are_named(thaw):
    running = thaw("predict", "gap")
    _, errors = running.communicate()
    assert running.returncode == 2
    assert errors.endswith("the following arguments are required: IMAGE_OR_FOLDER\n")


def test_ctrl_c_stops_at_once_with_one_line(thaw, tmp_path):
    os.mkfifo(tmp_path / "slow.jpg")
    running = thaw("predict", "cnn", str(tmp_path / "slow.jpg"))
    with open(tmp_path / "slow.jpg", "w"):  # opens once the command reads
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)
    assert running.returncode == 130
    assert errors.strip() == "thaw: interrupted."
