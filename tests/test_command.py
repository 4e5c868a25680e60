import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.command import Refusal, naming, run, whole


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path):
    with whole(tmp_path / "deep" / "a.txt") as part:
        part.write_text("new")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.txt"]
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"


def test_what_was_there_before_is_replaced_altogether(tmp_path, content):
    for names in (["old"], ["new", "newer"]):
        with whole(tmp_path / "a") as part:
            part.mkdir()
            for name in names:
                (part / name).write_text(name)
    assert content(tmp_path) == {"a/new": b"new", "a/newer": b"newer"}
    with whole(tmp_path / "a") as part:  # a file in the place of a folder
        part.write_text("file")
    assert content(tmp_path) == {"a": b"file"}


@pytest.mark.parametrize("error", [Refusal, KeyboardInterrupt, SystemExit])
def test_after_a_failure_nothing_is_left_and_what_was_there_stays(tmp_path, content, error):
    with whole(tmp_path / "b") as part:
        part.write_text("before")
    for name in ("a", "b"):
        with pytest.raises(error), whole(tmp_path / name) as part:
            part.mkdir()
            (part / "half").write_text("half")
            raise error
    assert content(tmp_path) == {"b": b"before"}


def test_what_a_killed_run_left_is_cleared(tmp_path, content):
    (tmp_path / "a.part").mkdir()
    (tmp_path / "a.part" / "half").write_text("half")
    with whole(tmp_path / "a") as part:
        part.mkdir()
        (part / "whole").write_text("whole")
    assert content(tmp_path) == {"a/whole": b"whole"}


def test_a_stage_gets_the_arguments_of_the_command_line(monkeypatch):
    given = []
    monkeypatch.setattr(sys, "argv", ["stage", "one", "two"])
    run(lambda *arguments: given.extend(arguments))
    assert given == ["one", "two"]


@pytest.fixture
def started(tmp_path):
    """A function that starts a stage in an empty folder."""

    def start(stage: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stderr=subprocess.PIPE,
            text=True,
            # a shell's background jobs ignore Ctrl-C, and hand that down
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


def test_a_refusal_is_one_message_and_exit_code_one(started):
    stage = started("preprocess")
    _, said = stage.communicate()
    assert stage.returncode == 1
    assert said.startswith("thaw: params.yaml cannot be read: ") and said.count("\n") == 1


def test_ctrl_c_is_one_message_and_another_exit_code(started, tmp_path):
    (tmp_path / "data" / "raw").mkdir(parents=True)
    os.mkfifo(tmp_path / "data" / "raw" / "index.csv")  # the stage waits for someone to write it
    image = "{size: 8, resampling: bicubic, colour: rgb}"
    (tmp_path / "params.yaml").write_text(f"dataset: {{image: {image}, on_bad_image: stop}}")
    stage = started("preprocess")
    with open(tmp_path / "data" / "raw" / "index.csv", "w"):
        stage.send_signal(signal.SIGINT)
        _, said = stage.communicate()
    assert stage.returncode == 130
    assert said.strip().startswith("thaw: interrupted.") and said.strip().count("\n") == 0


def test_the_first_twenty_offenders_are_named_and_the_rest_counted():
    assert naming(["a", "b"]) == "  a\n  b"
    lines = naming([str(n) for n in range(33)]).splitlines()
    assert lines == [*(f"  {n}" for n in range(20)), "  ... and 13 more"]
    assert naming([str(n) for n in range(20)]).splitlines()[-1] == "  19"
