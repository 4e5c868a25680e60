"""Silence converters, whose output no setting turns off."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silence_output() -> Iterator[None]:
    """Discard everything that Python or C++ code writes to stdout and stderr in the block."""
    sys.stdout.flush()
    sys.stderr.flush()
    originals = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), originals, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(null)
