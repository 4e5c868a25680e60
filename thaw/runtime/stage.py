"""Run a stage in its own process and watch it: `python -m thaw.runtime.stage SCRIPT [ARGUMENT...]`.

The watching process is small and never blocks. So Ctrl-C ends a stage within two seconds whatever
TensorFlow is doing, and a stage that the kernel killed for its memory gets a message. Each run adds
a line to logs/runs.jsonl with its time and memory, which artifacts must not contain.
"""

import contextlib
import datetime
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from thaw.errors import UserError, exception_hook, resume_hint, share_progress_notes

GRACE_SECONDS = 1.0  # for a stage to exit by itself after Ctrl-C, before it is killed
LOG = Path("logs/runs.jsonl")  # one line per run of a stage
CPU_INFO = Path("/proc/cpuinfo")  # Linux's list of the processor's features


def main(script: str, *arguments: str) -> int:
    """Run a stage.

    Args:
        script: path of the stage's script, which has a function `main`.
        arguments: of that function.

    Returns:
        The stage's exit code, or 128 and the number of the signal that ended it.
    """
    started = time.time()
    watcher_alive, watcher_end = os.pipe()  # the system closes watcher_end when this process ends
    stage = os.fork()
    if not stage:
        os.close(watcher_end)
        _run_stage(script, arguments, watcher_alive)
    os.close(watcher_alive)
    received: list[int] = []

    def end(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # the stage has just ended
            os.kill(stage, number)

    def interrupt(number: int, _: Any) -> None:
        received.append(number)
        end(signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    signal.signal(signal.SIGALRM, lambda *_: end(signal.SIGKILL))
    _, status, usage = os.wait4(stage, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    code = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)  # MB
    if received:
        code = 128 + received[0]
        sys.stderr.write(f"\nthaw: interrupted. {resume_hint()}\n")
    elif code < 0:
        sys.stderr.write(f"\nthaw: {_killed_message(-code, peak)} {resume_hint()}\n")
        code = 128 - code
    _log(
        {
            "stage": " ".join([Path(script).stem, *arguments]),
            "started": datetime.datetime.fromtimestamp(started).astimezone().isoformat(),
            "seconds": round(time.time() - started, 2),
            "exit": code,
            "peak_mb": peak,
        }
    )
    return code


def _run_stage(script: str, arguments: tuple[str, ...], watcher_alive: int) -> NoReturn:
    """Run the stage in this process, and end the process."""
    threading.Thread(target=_end_with_watcher, args=(watcher_alive,), daemon=True).start()
    # the watcher reports Ctrl-C; pip and apt inherit SIG_IGN, but no handler
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, _interrupt)
    _use_one_openblas_kernel()
    code = 1
    try:
        _load(script).main(*arguments)
        code = 0
    except KeyboardInterrupt:
        pass
    except BaseException as error:
        exception_hook()(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # all files are written, and TensorFlow's clean-up takes a second


def _load(script: str) -> ModuleType:
    """Import a stage's script."""
    name = f"stages.{Path(script).stem}"
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None or not Path(script).is_file():
        raise UserError(f"{script}: expected the script of a stage, such as stages/features.py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _use_one_openblas_kernel() -> None:
    """Make OpenBLAS use the same kernel on every x86-64 processor with AVX2.

    OpenBLAS, of NumPy and SciPy, chooses a kernel by processor model: that for AVX-512 on Zen 4 and
    that for AVX2 on Zen 5. They add in different orders, so the bytes of logistic models and
    predictions would differ.
    """
    with contextlib.suppress(OSError):
        if " avx2 " in CPU_INFO.read_text():
            os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")


def _interrupt(*_: Any) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)  # one exception is enough
    raise KeyboardInterrupt


def _end_with_watcher(watcher_alive: int) -> None:
    os.read(watcher_alive, 1)  # returns when the watcher has ended
    os.kill(os.getpid(), signal.SIGKILL)


def _killed_message(number: int, peak: int) -> str:
    name = signal.Signals(number).name
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return (
        f"the stage was ended by {name} with {peak:,} MB of memory in use; this machine has "
        f"{memory:,} MB. If memory ran out, lower batch_size or threads, or run fewer at once."
    )


def _log(line: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the stage has reported a full disk
        LOG.parent.mkdir(exist_ok=True)
        with open(LOG, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    share_progress_notes()
    sys.exit(main(*sys.argv[1:]))
