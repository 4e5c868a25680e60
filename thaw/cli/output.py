"""A network's answers about a stream of pictures, and where they are written."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import numpy as np
from tqdm import tqdm

from thaw.config.dataset import Image
from thaw.data.pictures import Picture, decode_ahead
from thaw.errors import printable
from thaw.runtime.progress import Progress
from thaw.storage.files import atomic_write


def stream_predictions(
    network: Callable[[np.ndarray], np.ndarray], files: list[str], image: Image, at_once: int
) -> Iterator[list[tuple[Picture, np.ndarray | None]]]:
    """The pictures in order, some at a time, each with its probabilities (classes,) or none if it
    could not be read, which is said at once on stderr.

    Args:
        network: from pixels (n, size, size, channels) to probabilities (n, classes).
        at_once: how many it is given; every pass is filled up with zeros, since TensorFlow
            prepares anew for each number.
    """
    at_once = min(at_once, len(files))
    with Progress("predict", len(files), log=sys.stderr) as progress:
        for some in decode_ahead(files, image, at_once):
            readable = [picture for picture in some if picture.problem is None]
            for picture in some:
                if picture.problem is not None:
                    tqdm.write(
                        printable(f"thaw: {picture.file}: {picture.problem}"), file=sys.stderr
                    )
            given = iter(())
            if readable:
                pixels = np.stack([picture.pixels for picture in readable])
                filled = np.zeros((at_once, *pixels.shape[1:]), "uint8")
                filled[: len(pixels)] = pixels
                given = iter(network(filled))
            yield [(p, next(given) if p.problem is None else None) for p in some]
            progress.advance(len(some))


@contextlib.contextmanager
def output_writer(out: str | None):
    """A function that writes text to the file `out`, which is there once it is whole, or to the
    standard output beside the progress bar."""
    if out is None:
        yield lambda text: (tqdm.write(text, sys.stdout, end=""), sys.stdout.flush())
        return
    if os.path.exists(out) and not os.path.isfile(out):  # as /dev/null: written to, not replaced
        with open(out, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file.write
        return
    with (
        atomic_write(os.path.realpath(out), shared=True) as part,  # NAME.part may be the user's
        open(part, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield file.write


def column_formatter(headings: list[str], widths: list[int]) -> Callable[..., str]:
    """A function from a row's cells to a line in which cells of up to these widths stand below
    their headings."""
    wide = [max(width, len(heading)) for heading, width in zip(headings, widths, strict=True)]
    return lambda *cells: (
        "  ".join(
            printable(cell).ljust(width) for cell, width in zip(cells, wide, strict=True)
        ).rstrip()
        + "\n"
    )


def report_unreadable(bad: int, count: int) -> int:
    """Say how many files could not be read, and give that number."""
    if bad:
        print(f"thaw: {bad:,} of {count:,} files could not be read", file=sys.stderr)
    return bad
