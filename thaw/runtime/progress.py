"""How far a long loop has come: a bar on a terminal, a plain line now and then in a log."""

import sys
import time
from typing import TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 15


class Progress:
    """Counts `total` things. Use as a context; call `advance` with how many more are done.

    Args:
        log: where lines go if there is no terminal; none: the standard output.
    """

    def __init__(self, what: str, total: int, unit: str = "images", log: TextIO | None = None):
        self.what, self.total, self.unit, self.log = what, total, unit, log
        self.done, self.started = 0, time.monotonic()
        self.said = self.started
        self.bar = tqdm(desc=what, total=total, unit=f" {unit}") if sys.stderr.isatty() else None

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(count)
        elif now - self.said > SECONDS_BETWEEN_LINES:
            self.said = now
            rate = self.done / (now - self.started)
            left = (self.total - self.done) / rate
            print(
                f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, "
                f"{rate:.0f} a second, {left:.0f} s left",
                flush=True,
                file=self.log,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()
