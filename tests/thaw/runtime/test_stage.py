"""A stage's process: messages, exit codes and signals."""

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
    """Start stage preprocess, and keep it waiting for the end of an index file."""
    index = tmp_path / "data" / "raw" / "index.csv"
    index.parent.mkdir(parents=True)
    os.mkfifo(index)
    (tmp_path / "params.yaml").write_text(f"dataset: {{image: {IMAGE}, on_bad_image: stop}}")
    process, writer = start(tmp_path), None
    deadline = time.monotonic() + 60
    while writer is None:
        try:
            writer = os.open(index, os.O_WRONLY | os.O_NONBLOCK)  # fails until it is read
        except OSError:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    yield process
    os.close(writer)
    if process.poll() is None:
        process.kill()


def start(folder: Path, stage: str = "preprocess") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "thaw.runtime.stage", str(ROOT / "stages" / f"{stage}.py")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a background job of a shell ignores Ctrl-C, and its children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def child(pid: int) -> int:
    (number,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(number)


def logged(folder: Path) -> dict:
    (line,) = (folder / "logs" / "runs.jsonl").read_text().splitlines()
    return json.loads(line)


def test_a_user_error_is_one_line_and_exit_code_1(tmp_path):
    stage = start(tmp_path)
    _, output = stage.communicate()
    assert stage.returncode == 1
    assert output.startswith("thaw: params.yaml cannot be read: ") and output.count("\n") == 1
    line = logged(tmp_path)
    assert (line["stage"], line["exit"]) == ("preprocess", 1)
    assert line["seconds"] > 0 and line["peak_mb"] > 0


def test_messages_contain_no_terminal_escape_sequences(tmp_path):
    name = "a\x1b[2J\x07.jpg"
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / name).write_text("no picture")
    (raw / "index.csv").write_text(f"path,label,split\n{name},a,\n")
    (tmp_path / "params.yaml").write_text(f"dataset: {{image: {IMAGE}, on_bad_image: stop}}")
    process = start(tmp_path)
    output = process.communicate()[1]
    assert process.returncode == 1 and "a?[2J?.jpg" in output and "\x1b" not in output, output


@pytest.mark.parametrize("to", [os.kill, os.killpg])  # `kill`, or a terminal's Ctrl-C
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_one_line_and_an_exit_code_above_128(waiting, tmp_path, to, number):
    to(waiting.pid, number)
    _, output = waiting.communicate(timeout=10)
    assert waiting.returncode == logged(tmp_path)["exit"] == 128 + number
    assert output.strip() == (
        "thaw: interrupted. Kept: all finished work. Run the same command again to continue."
    )


def test_a_stage_that_ignores_ctrl_c_is_killed_after_a_second(waiting):
    os.kill(child(waiting.pid), signal.SIGSTOP)  # like a long operation in C++
    started = time.monotonic()
    os.kill(waiting.pid, signal.SIGINT)
    _, output = waiting.communicate(timeout=10)
    assert waiting.returncode == 130 and output.startswith("\nthaw: interrupted.")
    assert time.monotonic() - started >= 1


def test_a_stage_that_the_kernel_kills_is_reported(waiting, tmp_path):
    os.kill(child(waiting.pid), signal.SIGKILL)
    _, output = waiting.communicate(timeout=10)
    assert waiting.returncode == logged(tmp_path)["exit"] == 137
    assert output.strip().startswith("thaw: the stage was ended by SIGKILL with ")
    assert output.strip().count("\n") == 0 and "lower batch_size" in output


def test_a_stage_ends_with_its_watching_process(waiting):
    stage = child(waiting.pid)
    waiting.kill()
    waiting.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{stage}").exists():
        state = Path(f"/proc/{stage}/stat").read_text().rsplit(")")[-1].split()[0]
        if state == "Z":  # dead, but not collected by a parent
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(
    " avx2 " not in Path("/proc/cpuinfo").read_text(), reason="this processor has no AVX2"
)
def test_openblas_uses_the_same_kernel_on_every_processor(tmp_path):
    """By default OpenBLAS chooses by processor model."""
    (tmp_path / "stages").mkdir()
    stage = tmp_path / "stages" / "kernel.py"
    stage.write_text(
        "def main():\n"
        "    import numpy, threadpoolctl\n"
        "    print(*{i['architecture'] for i in threadpoolctl.threadpool_info()})\n"
    )
    output = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "import thaw.runtime.stage as watcher\n"
            "sys.exit(watcher.main('stages/kernel.py'))",
        ],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"},
        capture_output=True,
        text=True,
    )
    assert (output.returncode, output.stdout) == (0, "Haswell\n"), output.stderr
