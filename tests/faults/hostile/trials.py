"""Inputs given to a part of Thaw, one after the other, each watched and none trusted."""

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
from pathlib import Path

ROOT = Path(__file__).parents[3]
SEED = int(os.environ.get("HOSTILE_SEED", "0"))
ROUNDS = float(os.environ.get("HOSTILE_ROUNDS", "1"))
"""Times the usual number of mutations that the fuzzers try."""
GOOD = ("taken", "refused")


class Trials:
    """Tries inputs on `target` of a module beside this one, and counts how they end.

    Attributes:
        box: the folder in which everything happens; a trial runs in its folder `project`, beside
            which lies a file that nothing may read.
        writes: the folder in which a trial may write; the box if nothing else is said.
        bad: the inputs that ended as none may.
    """

    def __init__(self, box: Path, room: str, fork: bool = True, seconds=10, megabytes=1024):
        self.box, self.room, self.fork = box, room, fork
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
            [sys.executable, "-m", "tests.faults.hostile.watched", self.room, str(int(self.fork))],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._rest = b""
        assert self._line(120) == b"ready", f"{self.room} does not start"

    def _line(self, seconds: float) -> bytes | None:
        """The next line, or none after that time or once the process has ended."""
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready = select.select([self._worker.stdout], [], [], max(0, end - time.monotonic()))[0]
            more = os.read(self._worker.stdout.fileno(), 1 << 16) if ready else b""
            if not more:
                return None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def __call__(self, label: str, argument, expected: str | None = None) -> dict:
        """Try one input.

        Args:
            label: to call it.
            argument: what `target` gets, of JSON.
            expected: how it must end, taken or refused; none: either.
        """
        if self._worker is None:
            self._start()
        places = {n: str(getattr(self, n)) for n in ("writes", "project", "secret")}
        asked = {"argument": argument, "megabytes": self.megabytes, **places}
        self._worker.stdin.write(json.dumps(asked).encode() + b"\n")
        self._worker.stdin.flush()
        answer = self._answer()
        if answer["kind"] in GOOD and answer["megabytes"] > self.megabytes:
            answer["kind"] = "memory"
        if answer["kind"] in GOOD and expected not in (None, answer["kind"]):
            answer["kind"] = f"{answer['kind']} (expected: {expected})"
        self.counts[answer["kind"]] += 1
        self.slowest = max(self.slowest, answer.get("seconds", self.seconds))
        self.largest = max(self.largest, answer.get("megabytes", 0))
        if answer["kind"] not in GOOD:
            self.bad.append(f"{label}: {answer['kind']}: {answer['text'][:400]}")
        return answer

    def _answer(self) -> dict:
        if not self.fork:
            line = self._line(self.seconds)
            if line is None:
                hung = self._worker.poll() is None
                self._kill()
                return {"kind": "hang" if hung else "died", "text": ""}
            return json.loads(line)
        lines: dict = {}  # of the worker, its child's number and end; of the child, its answer
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
        if self._worker is not None:
            self._worker.stdin.close()
            try:
                self._worker.wait(20)
            except subprocess.TimeoutExpired:
                self._worker.kill()
            self._worker = None
        shutil.rmtree(self.box, ignore_errors=True)

    def summary(self) -> dict:
        assert self.secret.read_text() == "nothing may read this\n"
        return {
            "inputs": sum(self.counts.values()),
            **self.counts,
            "slowest, s": round(self.slowest, 2),
            "most memory, MB": round(self.largest),
        }


def mutated(content: bytes, chance: random.Random, others: list[bytes] = ()) -> bytes:
    """`content` with up to four harms: bits turned, bytes set, pieces cut out, doubled, moved or
    taken from another file, the end cut off."""
    held = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if not held:
            break
        at = chance.randrange(len(held))
        some = chance.choice([1, 2, 4, 8, 16, 64, 256, 1024])
        match chance.randrange(8):
            case 0:
                held[at] ^= 1 << chance.randrange(8)
            case 1:
                held[at : at + some] = bytes(some)
            case 2:
                held[at : at + 4] = chance.choice(
                    [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80"]
                )
            case 3:
                del held[at : at + some]
            case 4:
                held[at:at] = held[at : at + some]
            case 5:
                held[at : at + some] = chance.randbytes(some)
            case 6:
                del held[at:]
            case 7:
                other = chance.choice([content, *others])
                start = chance.randrange(len(other) or 1)
                held[at : at + some] = other[start : start + some]
    return bytes(held)


def rounds(usual: int) -> int:
    """How many mutations to try."""
    return max(1, int(usual * ROUNDS))
