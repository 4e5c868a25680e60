"""Converters write pages that no setting silences."""

import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def quiet():
    """What is written to the terminal within, by Python or C++, is shown only if it fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 1)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(before[1], held.read())
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for place, original in zip((1, 2), before, strict=True):
                os.dup2(original, place)
                os.close(original)
