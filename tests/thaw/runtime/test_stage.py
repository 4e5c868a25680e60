"""What becomes of a stage's process, seen from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

IMAGE = "{size: 8, resampling: bicubic, colour: rgb}"


@pytest.fixture
def waiting(tmp_path):
    """A function that starts stage preprocess, which waits for the end of an index."""
    index = tmp_path / "data" / "raw" / "index.csv"
    index.parent.mkdir(parents=True)
    os.mkfifo(index)
    (tmp_path / "params.yaml").write_text(f"dataset: {{image: {IMAGE}, on_bad_image: stop}}")
    process, held = begin(tmp_path), None
    deadline = time.monotonic() + 60
    while held is None:
        try:
            held = os.open(index, os.O_WRONLY | os.O_NONBLOCK)  # works once somebody reads it
        except OSError:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    yield process
    os.close(held)
    if process.poll() is None:
        process.kill()


def begin(folder: Path, stage: str = "preprocess") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "thaw.runtime.stage", str(ROOT / "stages" / f"{stage}.py")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell's background jobs ignore Ctrl-C, and hand that down
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def child(pid: int) -> int:
    (found,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found)


def logged(folder: Path) -> dict:
    (line,) = (folder / "logs" / "runs.jsonl").read_text().splitlines()
    return json.loads(line)


def test_a_refusal_is_one_message_and_exit_code_one(tmp_path):
    stage = begin(tmp_path)
    _, said = stage.communicate()
    assert stage.returncode == 1
    assert said.startswith("thaw: params.yaml cannot be read: ") and said.count("\n") == 1
    line = logged(tmp_path)
    assert (line["stage"], line["exit"]) == ("preprocess", 1)
    assert line["seconds"] > 0 and line["peak_mb"] > 0


def test_a_refusal_has_nothing_that_a_terminal_would_obey(tmp_path):
    name = "a\x1b[2J\x07.jpg"
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / name).write_text("no picture")
    (raw / "index.csv").write_text(f"path,label,split\n{name},a,\n")
    (tmp_path / "params.yaml").write_text(f"dataset: {{image: {IMAGE}, on_bad_image: stop}}")
    process = begin(tmp_path)
    said = process.communicate()[1]
    assert process.returncode == 1 and "a?[2J?.jpg" in said and "\x1b" not in said, said


@pytest.mark.parametrize("to", [os.kill, os.killpg])  # by `kill`, or by the terminal to all
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_one_message_and_another_exit_code(waiting, tmp_path, to, number):
    to(waiting.pid, number)
    _, said = waiting.communicate(timeout=10)
    assert waiting.returncode == logged(tmp_path)["exit"] == 128 + number
    assert said.strip() == (
        "thaw: interrupted. Kept: what was finished. The same command goes on from there."
    )


def test_a_stage_that_hears_nothing_ends_after_a_second_all_the_same(waiting):
    os.kill(child(waiting.pid), signal.SIGSTOP)  # as deaf as in the middle of a long operation
    started = time.monotonic()
    os.kill(waiting.pid, signal.SIGINT)
    _, said = waiting.communicate(timeout=10)
    assert waiting.returncode == 130 and said.startswith("\nthaw: interrupted.")
    assert time.monotonic() - started >= 1


def test_a_stage_that_the_kernel_kills_is_told_of(waiting, tmp_path):
    os.kill(child(waiting.pid), signal.SIGKILL)
    _, said = waiting.communicate(timeout=10)
    assert waiting.returncode == logged(tmp_path)["exit"] == 137
    assert said.strip().startswith("thaw: the stage was ended by SIGKILL with ")
    assert said.strip().count("\n") == 0 and "lower batch_size" in said


def test_a_stage_does_not_outlive_who_watches_it(waiting):
    stage = child(waiting.pid)
    waiting.kill()
    waiting.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{stage}").exists():
        state = Path(f"/proc/{stage}/stat").read_text().rsplit(")")[-1].split()[0]
        if state == "Z":  # dead, and nobody here waits for orphans
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(
    " avx2 " not in Path("/proc/cpuinfo").read_text(), reason="this processor has no AVX2"
)
def test_openblas_multiplies_as_on_other_processors(tmp_path):
    """Its own choice hangs on which models of processors it knows."""
    (tmp_path / "stages").mkdir()
    stage = tmp_path / "stages" / "told.py"
    stage.write_text(
        "def main():\n"
        "    import numpy, threadpoolctl\n"
        "    print(*{i['architecture'] for i in threadpoolctl.threadpool_info()})\n"
    )
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "import thaw.runtime.stage as watcher\n"
            "sys.exit(watcher.main('stages/told.py'))",
        ],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"},
        capture_output=True,
        text=True,
    )
    assert (said.returncode, said.stdout) == (0, "Haswell\n"), said.stderr
