"""What DVC's cache still holds of an output, as dvc.lock recorded it before the stage ran.

DVC removes a stage's outputs before it runs. In a colleague's clone, or after the store was
cleared, they are all that is left of what was computed, so their rows are taken into the store.
"""

import io
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from thaw.storage.arrays import array_files
from thaw.storage.dvc import dvc_cache, read_cached, recorded_digests
from thaw.storage.store import Store


def recover_rows(
    store: Store, wanted: Iterable[str], out: str, row_of: Callable[[str], str | None] = str
) -> int:
    """Take from the recorded `out`, which `write_arrays` made, the rows that `store` lacks.

    Nothing is taken where `out` was made by another recipe, or from files that are not in the
    cache or not what DVC recorded.

    Args:
        wanted: keys of the store.
        row_of: the key that a key of the store has in `out`, or none.

    Returns:
        How many were taken.
    """
    lacking = defaultdict(list)  # keys of the store by their row's
    for key in store.missing(wanted):
        lacking[row_of(key)].append(key)
    lacking.pop(None, None)
    if not lacking:
        return 0
    cache = dvc_cache()
    digests = _listing(cache, out)
    recipe, index = (read_cached(cache, digests.get(name)) for name in ("recipe.json", "keys.txt"))
    if recipe is None or index is None or json.loads(recipe) != store.recipe:
        return 0
    keys, taken = index.decode().split(), 0
    for name, start, stop in array_files(keys):
        rows = [(key, n - start) for n in range(start, stop) for key in lacking.get(keys[n], ())]
        if rows and (content := read_cached(cache, digests.get(name))) is not None:
            chosen, places = zip(*rows, strict=True)
            store.add(list(chosen), np.load(io.BytesIO(content))[list(places)])
            taken += len(rows)
    return taken


def read_recorded(out: str) -> bytes | None:
    """The content of the recorded file `out`; none where DVC's cache has it no more."""
    return read_cached(dvc_cache(), _digest(out))


def read_or_fetch_recorded(out: str, stage: str) -> bytes | None:
    """Return the content of the recorded file `out`, fetched from the remote if it is not cached."""
    content = read_recorded(out)
    if content is None:  # a clone that has not pulled everything
        fetch = [sys.executable, "-m", "dvc", "fetch", "--quiet", stage]
        subprocess.run(fetch, capture_output=True, check=False)
        content = read_recorded(out)
    return content


def _listing(cache: Path, folder: str) -> dict[str, str]:
    """The MD5 of each file in a recorded folder, by its name."""
    content = read_cached(cache, _digest(folder))
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)} if content else {}


def _digest(out: str) -> str | None:
    """The MD5 that dvc.lock has for `out`."""
    return next(iter(recorded_digests(out)), None)
