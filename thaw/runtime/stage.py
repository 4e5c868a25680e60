"""Run a stage in a process of its own and watch it: `python -m thaw.runtime.stage SCRIPT [ARGUMENT...]`.

The watcher is small and waits for nothing: whatever TensorFlow is in the middle of, Ctrl-C ends
within two seconds; a stage that the kernel killed for its memory is told of; and what became of it
is a line of logs/runs.jsonl (its time and memory, which artifacts must not hold).
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

from thaw.errors import UserError, exception_hook, resume_hint, share_progress_notes

GRACE = 1.0
"""Seconds that a stage has to end by itself after Ctrl-C."""
LOG = Path("logs/runs.jsonl")
PROCESSOR = Path("/proc/cpuinfo")


def main(script: str, *arguments: str) -> int:
    """Run the stage and give the exit code: its own, or 128 and the number of the signal that
    ended it."""
    started = time.time()
    alive, held = os.pipe()  # closed, and so at its end, once this process is gone
    stage = os.fork()
    if not stage:
        os.close(held)
        _become(script, arguments, alive)
    os.close(alive)
    told = []

    def end(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended in this moment
            os.kill(stage, number)

    def tell(number, _) -> None:
        told.append(number)
        end(signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, GRACE)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, tell)
    signal.signal(signal.SIGALRM, lambda *_: end(signal.SIGKILL))
    _, status, used = os.wait4(stage, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    code = os.waitstatus_to_exitcode(status)
    peak = used.ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
    if told:
        code = 128 + told[0]
        sys.stderr.write(f"\nthaw: interrupted. {resume_hint()}\n")
    elif code < 0:
        sys.stderr.write(f"\nthaw: {_killed(-code, peak)} {resume_hint()}\n")
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


def _become(script: str, arguments: tuple[str, ...], alive: int) -> None:
    """Be the stage; never returns."""
    threading.Thread(target=_outlive_nobody, args=(alive,), daemon=True).start()
    # the watcher tells of Ctrl-C; a handler, unlike SIG_IGN, is not handed down to pip or apt
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, _interrupt)
    _multiply_alike()
    code = 1
    try:
        _load(script).main(*arguments)
        code = 0
    except KeyboardInterrupt:
        pass
    except BaseException:
        exception_hook()(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # all is on disk, and TensorFlow takes a second to take itself apart


def _load(script: str) -> ModuleType:
    """Return the module of a stage's script."""
    name = f"stages.{Path(script).stem}"
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None or not Path(script).is_file():
        raise UserError(f"{script}: expected the script of a stage, as stages/features.py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _multiply_alike() -> None:
    """Have NumPy's and SciPy's OpenBLAS take the same kernels on every x86-64 processor with AVX2.

    By itself it takes those of the nearest model that it knows, AVX-512's on Zen 4 and AVX2's on
    Zen 5, which sum in another order: logistic models and predictions then differ in their bytes.
    """
    with contextlib.suppress(OSError):
        if " avx2 " in PROCESSOR.read_text():
            os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")


def _interrupt(*_) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)  # once is enough
    raise KeyboardInterrupt


def _outlive_nobody(alive: int) -> None:
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def _killed(number: int, peak: int) -> str:
    name = signal.Signals(number).name
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return (
        f"the stage was ended by {name} with {peak:,} MB of memory in use; this machine has "
        f"{memory:,} MB. If memory ran out, lower batch_size or threads, or run fewer at once."
    )


def _log(line: dict) -> None:
    with contextlib.suppress(OSError):  # a full disk has been told of by the stage
        LOG.parent.mkdir(exist_ok=True)
        with open(LOG, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    share_progress_notes()
    sys.exit(main(*sys.argv[1:]))
