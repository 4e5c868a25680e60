"""What tells one set of weights from another."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from thaw.errors import UserError


def tensors_digest(held: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes and values of weights, whatever file they came in."""
    seen = hashlib.sha256()
    for path, values in held.items():
        seen.update(f"{path} {values.shape}\n".encode())
        seen.update(np.ascontiguousarray(values, "<f4"))
    return seen.hexdigest()


def file_digest(path: str | Path) -> str:
    """The digest of the weights in a file of stage weights@B."""
    return tensors_digest(load_npz(path))


def save_npz(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as an .npz file, the same bytes by every Python: how NumPy's own savez comes out
    changed within Python 3.11."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in arrays.items():
            file = io.BytesIO()
            np.lib.format.write_array(file, np.asanyarray(values), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), file.getvalue())  # of 1980


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file as `save_arrays` writes it, by name.

    Raises:
        UserError: it is damaged, or holds anything but numbers; a pickle is never loaded.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its arrays are packed, as ours are not")
        with np.load(path, allow_pickle=False) as held:
            found = {name: held[name] for name in held.files}
        for name, values in found.items():
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
                raise ValueError(f"{name!r} holds no numbers")
        return found
    except Exception as error:  # NumPy raises nearly everything on damaged files
        reason = f"{error}".strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{path} cannot be read: {reason[0]!a:.200}. `dvc checkout` or `dvc repro` brings it."
        ) from None
