"""Recover results from DVC's cache that the store lacks.

DVC removes a stage's outputs before it runs the stage. In a new clone, or after the store was
deleted, DVC's cache has the only copy of earlier results, so their rows are copied to the store.
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
    """Copy rows that `store` lacks from an output that `write_array_folder` wrote.

    Nothing is copied if the output has another recipe. Files that are missing from DVC's cache or
    differ from dvc.lock are skipped.

    Args:
        store: the store to add rows to.
        wanted: keys of the store.
        out: path of the output, as in dvc.lock.
        row_of: returns the key in `out` for a key of the store, or None if it has no row there.

    Returns:
        The number of copied rows.
    """
    lacking: dict[str | None, list[str]] = defaultdict(list)  # keys of the store by key of the row
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
    keys, count = index.decode().split(), 0
    for name, start, stop in array_files(keys):
        rows = [(key, n - start) for n in range(start, stop) for key in lacking.get(keys[n], ())]
        if rows and (content := read_cached(cache, digests.get(name))) is not None:
            chosen, indices = zip(*rows, strict=True)
            store.add(list(chosen), np.load(io.BytesIO(content))[list(indices)])
            count += len(rows)
    return count


def read_recorded(out: str) -> bytes | None:
    """Return the content of the recorded file `out`, or None if DVC's cache lacks it."""
    return read_cached(dvc_cache(), _digest(out))


def read_or_fetch_recorded(out: str, stage: str) -> bytes | None:
    """Return the content of the recorded file `out`, fetched from a remote if it is not cached."""
    content = read_recorded(out)
    if content is None:  # a clone that has not pulled everything
        fetch = [sys.executable, "-m", "dvc", "fetch", "--quiet", stage]
        subprocess.run(fetch, capture_output=True, check=False)
        content = read_recorded(out)
    return content


def _listing(cache: Path, folder: str) -> dict[str, str]:
    """Return the MD5 of each file in a recorded folder, by file name."""
    content = read_cached(cache, _digest(folder))
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)} if content else {}


def _digest(out: str) -> str | None:
    """Return the MD5 that dvc.lock has for `out`."""
    return next(iter(recorded_digests(out)), None)
