"""What DVC's cache still holds of an output, as dvc.lock recorded it before the stage ran.

DVC removes a stage's outputs before it runs. In a colleague's clone, or after the store was
cleared, they are all that is left of what was computed, so their rows are taken into the store.
"""

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from stages.images.arrays import files
from stages.inputs import cached, recorded_digests
from stages.store import Store, dvc_cache


def adopt(
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
    recipe, index = (cached(cache, digests.get(name)) for name in ("recipe.json", "keys.txt"))
    if recipe is None or index is None or json.loads(recipe) != store.recipe:
        return 0
    keys, taken = index.decode().split(), 0
    for name, start, stop in files(keys):
        rows = [(key, n - start) for n in range(start, stop) for key in lacking.get(keys[n], ())]
        if rows and (content := cached(cache, digests.get(name))) is not None:
            chosen, places = zip(*rows, strict=True)
            store.add(list(chosen), np.load(io.BytesIO(content))[list(places)])
            taken += len(rows)
    return taken


def recorded_file(out: str) -> bytes | None:
    """The content of the recorded file `out`; none where DVC's cache has it no more."""
    return cached(dvc_cache(), _digest(out))


def _listing(cache: Path, folder: str) -> dict[str, str]:
    """The MD5 of each file in a recorded folder, by its name."""
    content = cached(cache, _digest(folder))
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)} if content else {}


def _digest(out: str) -> str | None:
    """The MD5 that dvc.lock has for `out`."""
    return next(iter(recorded_digests(out)), None)
