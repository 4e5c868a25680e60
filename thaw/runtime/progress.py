"""Progress of a long loop: a bar on a terminal, a line every few seconds in a log."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 15  # few lines per hour, but a sign of life while one waits


class Progress:
    """A context manager that shows how many of `total` items are done.

    Args:
        what: the task, the first word of the line.
        total: the number of items.
        unit: the items' name, in the plural.
        log: where lines go if standard error is no terminal; None for standard output.
    """

    def __init__(
        self, what: str, total: int, unit: str = "images", log: TextIO | None = None
    ) -> None:
        self.what, self.total, self.unit, self.log = what, total, unit, log
        self.done, self.started = 0, time.monotonic()
        self.last_line = self.started
        self.bar = tqdm(desc=what, total=total, unit=f" {unit}") if sys.stderr.isatty() else None

    def advance(self, count: int) -> None:
        """Add `count` finished items."""
        self.done += count
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(count)
        elif now - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = now
            rate = self.done / (now - self.started)
            left = (self.total - self.done) / rate
            print(
                f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, "
                f"{rate:.0f} {self.unit}/s, {left:.0f} s left",
                flush=True,
                file=self.log,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()
