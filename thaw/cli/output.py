"""Predict a stream of images, and write tables and files of predictions."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from thaw.config.dataset import Image
from thaw.data.pictures import Picture, decode_ahead
from thaw.errors import printable
from thaw.runtime.progress import Progress
from thaw.storage.files import atomic_write

UNREADABLE = 3  # the exit code if some files could not be read


def stream_predictions(
    network: Callable[[np.ndarray], Iterable[np.ndarray]],
    files: list[str],
    image: Image,
    batch_size: int,
) -> Iterator[list[tuple[Picture, np.ndarray | None]]]:
    """Predict images in order, batch by batch. Report unreadable files on stderr at once.

    Args:
        network: from pixels (batch, height, width, channels) to probabilities (batch, classes).
        files: the paths of the images.
        image: how they are decoded.
        batch_size: every batch is filled up with zeros to this size, because TensorFlow traces
            the network again for each other size.

    Returns:
        For each batch its images, each with its probabilities (classes,), or None if the image
        could not be read.
    """
    batch_size = min(batch_size, len(files))
    with Progress("predict", len(files), log=sys.stderr) as progress:
        for batch in decode_ahead(files, image, batch_size):
            readable = [picture.pixels for picture in batch if picture.pixels is not None]
            for picture in batch:
                if picture.problem is not None:
                    tqdm.write(
                        printable(f"thaw: {picture.file}: {picture.problem}"), file=sys.stderr
                    )
            rows: Iterator[np.ndarray] = iter(())
            if readable:
                pixels = np.stack(readable)
                filled = np.zeros((batch_size, *pixels.shape[1:]), "uint8")
                filled[: len(pixels)] = pixels
                rows = iter(network(filled))
            yield [(p, next(rows) if p.problem is None else None) for p in batch]
            progress.advance(len(batch))


@contextlib.contextmanager
def output_writer(out: str | None) -> Iterator[Callable[[str], Any]]:
    """Return a function that writes text to a file or to the standard output.

    Args:
        out: a file, which appears when it is complete; None writes to the standard output, above
            the progress bar.
    """
    if out is None:
        yield lambda text: (tqdm.write(text, sys.stdout, end=""), sys.stdout.flush())
        return
    if os.path.exists(out) and not os.path.isfile(out):  # /dev/null is written to, not replaced
        with open(out, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file.write
        return
    with (
        atomic_write(
            os.path.realpath(out), shared=True
        ) as part,  # NAME.part may be the user's file
        open(part, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield file.write


def column_formatter(headings: list[str], widths: list[int]) -> Callable[..., str]:
    """Return a function that formats the cells of a row as a line of aligned columns."""
    columns = [max(width, len(heading)) for heading, width in zip(headings, widths, strict=True)]
    return lambda *cells: (
        "  ".join(
            printable(cell).ljust(width) for cell, width in zip(cells, columns, strict=True)
        ).rstrip()
        + "\n"
    )


def report_unreadable(unreadable: int, count: int) -> int:
    """Report on stderr how many files could not be read, and return the exit code."""
    if unreadable:
        print(f"thaw: {unreadable:,} of {count:,} files could not be read", file=sys.stderr)
    return UNREADABLE if unreadable else 0
