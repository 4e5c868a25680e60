"""Converters write pages that no setting silences."""

import contextlib
import os
import sys


@contextlib.contextmanager
def quiet():
    """What Python or C++ writes to the terminal within is not shown."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for place in (1, 2):
            os.dup2(nowhere, place)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for place, original in zip((1, 2), before, strict=True):
            os.dup2(original, place)
            os.close(original)
        os.close(nowhere)
