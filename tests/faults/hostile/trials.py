"""Run hostile inputs through a part of Thaw, one after the other, and count the outcomes."""

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
SEED = int(os.environ.get("HOSTILE_SEED", "0"))
ROUNDS = float(os.environ.get("HOSTILE_ROUNDS", "1"))  # factor on the number of mutated inputs
ACCEPTABLE = ("accepted", "refused")


class Trials:
    """Passes inputs to the function `target` of a module in this folder, and counts the outcomes.

    Args:
        box: The folder in which everything happens. A trial runs in its sub-folder `project`,
            beside which there is a file that no trial may read.
        module: The name of the module.
        fork: Whether each trial runs in a process of its own.
        seconds: Time limit of a trial.
        megabytes: Memory limit of a trial.

    Attributes:
        writes: The folder in which a trial may write, by default the box.
        bad: A line for each input with an unacceptable outcome.
    """

    def __init__(
        self,
        box: Path,
        module: str,
        fork: bool = True,
        seconds: float = 10,
        megabytes: int = 1024,
    ) -> None:
        self.box, self.module, self.fork = box, module, fork
        self.seconds, self.megabytes = seconds, megabytes
        self.project, self.secret = box / "project", box / "secret.txt"
        self.project.mkdir(parents=True)
        self.writes = box
        self.secret.write_text("nothing may read this\n")
        self.counts: Counter[str] = Counter()
        self.bad: list[str] = []
        self.slowest = self.largest = 0.0
        self._worker: subprocess.Popen | None = None

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.box / "tmp")}
        environment |= {"HOME": str(self.box / "home"), "THAW_STORE": str(self.box / "store")}
        for name in ("tmp", "home"):
            (self.box / name).mkdir(exist_ok=True)
        self._worker = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.faults.hostile.watched",
                self.module,
                str(int(self.fork)),
            ],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._rest = b""
        assert self._line(120) == b"ready", f"{self.module} does not start"

    def _line(self, seconds: float) -> bytes | None:
        """Return the next line, or None after the given time or the end of the process."""
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready = select.select([self._worker.stdout], [], [], max(0, end - time.monotonic()))[0]
            more = os.read(self._worker.stdout.fileno(), 1 << 16) if ready else b""
            if not more:
                return None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def __call__(self, label: str, argument: Any, expected: str | None = None) -> dict[str, Any]:
        """Run one trial.

        Args:
            label: Names the input in messages.
            argument: The argument of `target`, a JSON value.
            expected: The outcome, accepted or refused. None allows both.

        Returns:
            The outcome (`kind`, `text`), its time and its memory.
        """
        if self._worker is None:
            self._start()
        places = {n: str(getattr(self, n)) for n in ("writes", "project", "secret")}
        request = {"argument": argument, "megabytes": self.megabytes, **places}
        self._worker.stdin.write(json.dumps(request).encode() + b"\n")
        self._worker.stdin.flush()
        answer = self._answer()
        if answer["kind"] in ACCEPTABLE and answer["megabytes"] > self.megabytes:
            answer["kind"] = "memory"
        if answer["kind"] in ACCEPTABLE and expected not in (None, answer["kind"]):
            answer["kind"] = f"{answer['kind']} (expected: {expected})"
        self.counts[answer["kind"]] += 1
        self.slowest = max(self.slowest, answer.get("seconds", self.seconds))
        self.largest = max(self.largest, answer.get("megabytes", 0))
        if answer["kind"] not in ACCEPTABLE:
            self.bad.append(f"{label}: {answer['kind']}: {answer['text'][:400]}")
        return answer

    def _answer(self) -> dict[str, Any]:
        if not self.fork:
            line = self._line(self.seconds)
            if line is None:
                hung = self._worker.poll() is None
                self._kill()
                return {"kind": "hang" if hung else "died", "text": ""}
            return json.loads(line)
        # the worker sends its child's process id and exit status, the child its answer
        lines: dict[str, Any] = {}
        end = time.monotonic() + self.seconds
        while "ended" not in lines:
            line = self._line(max(0.0, end - time.monotonic()))
            if line is None:
                os.kill(lines["child"], signal.SIGKILL)
                self._kill()
                return {"kind": "hang", "text": ""}
            lines |= json.loads(line)
        return lines if "kind" in lines else {"kind": "died", "text": f"status {lines['ended']}"}

    def _kill(self) -> None:
        self._worker.kill()
        self._worker.wait()
        self._worker = None

    def close(self) -> None:
        """Stop the worker and delete the box."""
        if self._worker is not None:
            self._worker.stdin.close()
            try:
                self._worker.wait(20)
            except subprocess.TimeoutExpired:
                self._worker.kill()
            self._worker = None
        shutil.rmtree(self.box, ignore_errors=True)

    def summary(self) -> dict[str, Any]:
        """Return the number of inputs, the counts of outcomes, and the maximum time and memory."""
        assert self.secret.read_text() == "nothing may read this\n"
        return {
            "inputs": sum(self.counts.values()),
            **self.counts,
            "slowest, s": round(self.slowest, 2),
            "most memory, MB": round(self.largest),
        }


def mutated(content: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return `content` with one to four random mutations.

    A mutation flips a bit, overwrites bytes, deletes, duplicates or copies a piece (also from
    another file), or truncates the content.
    """
    mutant = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if not mutant:
            break
        at = chance.randrange(len(mutant))
        size = chance.choice([1, 2, 4, 8, 16, 64, 256, 1024])
        match chance.randrange(8):
            case 0:
                mutant[at] ^= 1 << chance.randrange(8)
            case 1:
                mutant[at : at + size] = bytes(size)
            case 2:
                mutant[at : at + 4] = chance.choice(
                    [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80"]
                )
            case 3:
                del mutant[at : at + size]
            case 4:
                mutant[at:at] = mutant[at : at + size]
            case 5:
                mutant[at : at + size] = chance.randbytes(size)
            case 6:
                del mutant[at:]
            case 7:
                other = chance.choice([content, *others])
                start = chance.randrange(len(other) or 1)
                mutant[at : at + size] = other[start : start + size]
    return bytes(mutant)


def rounds(usual: int) -> int:
    """Return how many mutated inputs to try."""
    return max(1, int(usual * ROUNDS))
