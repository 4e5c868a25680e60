"""Arrays and weights in .npz files, and digests of weights."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from thaw.errors import UserError

Array = np.ndarray[Any, Any]


def tensors_digest(tensors: dict[str, Array]) -> str:
    """Return the SHA-256 of the names, shapes and values of weights, whatever their file."""
    digest = hashlib.sha256()
    for name, values in tensors.items():
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, "<f4").data)
    return digest.hexdigest()


def file_digest(path: str | Path) -> str:
    """Return the digest of the weights in a file of stage weights@B."""
    return tensors_digest(load_npz(path))


def save_npz(path: str | Path, arrays: dict[str, Array]) -> None:
    """Write arrays to an .npz file, the same bytes with every Python.

    The bytes that `numpy.savez` writes changed within Python 3.11.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in arrays.items():
            file = io.BytesIO()
            np.lib.format.write_array(file, np.asanyarray(values), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), file.getvalue())  # dated 1980


def load_npz(path: str | Path) -> dict[str, Array]:
    """Return the arrays of an .npz file that `save_npz` wrote, by name.

    Raises:
        UserError: the file is damaged or has other data than numbers. Pickles are never loaded.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its arrays are compressed, which Thaw never does")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        for name, values in arrays.items():
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
                raise ValueError(f"{name!r} is no array of numbers")
        return arrays
    except PermissionError:  # its message is better
        raise
    except Exception as error:  # NumPy raises many types for damaged files
        reason = f"{error}".strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{path} cannot be read: {reason[0]!a:.200}. `dvc checkout` or `dvc repro` restores it."
        ) from None
