"""What tells one set of weights from another."""

import hashlib
from pathlib import Path

import numpy as np


def digest(held: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes and values of weights, whatever file they came in."""
    seen = hashlib.sha256()
    for path, values in held.items():
        seen.update(f"{path} {values.shape}\n".encode())
        seen.update(np.ascontiguousarray(values, "<f4"))
    return seen.hexdigest()


def digest_of(path: str | Path) -> str:
    """The digest of the weights in a file of stage weights@B."""
    with np.load(path) as held:
        return digest({name: held[name] for name in held.files})
