"""Read the tensors of a file that PyTorch saved, without PyTorch and without running its code."""

import io
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C  # first number of PyTorch's legacy format
VERSION = 1001  # the only version of that format
DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
}


def read_torch_file(content: bytes) -> dict[str, np.ndarray]:
    """Return the tensors of a file in PyTorch's legacy format (before version 1.6), by name.

    The file consists of pickles and the raw numbers of each storage. The unpickler knows ordered
    dictionaries, storages and tensors; everything else in a pickle is refused.

    Args:
        content: the file's bytes: a dictionary of tensors.

    Returns:
        Arrays in the tensors' shapes and dtypes.

    Raises:
        ValueError: the file has another format, or contains anything else than tensors.
    """
    file = io.BytesIO(content)
    try:
        header = [_TensorUnpickler(file).load() for _ in range(3)]
        if header[:2] != [MAGIC, VERSION] or not header[2]["little_endian"]:
            raise ValueError("it is not in PyTorch's legacy format")
        described = _TensorUnpickler(file).load()
        storages = {}
        dtypes = {key: dtype for key, dtype, *_ in map(_storage_of, described.values())}
        for key in _TensorUnpickler(file).load():
            count = int.from_bytes(file.read(8), "little")
            dtype = np.dtype(dtypes[key])
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        return {
            name: _strided(storages[_storage_of(tensor)[0]], *tensor[1:])
            for name, tensor in described.items()
        }
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a PyTorch file of tensors: {error}") from None


def _rebuild_tensor(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> Any:
    """Stand in for torch._utils._rebuild_tensor_v2: describe a tensor."""
    return storage, offset, shape, strides


class _TensorUnpickler(pickle.Unpickler):
    """Unpickle dictionaries of tensors and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of an allowed name."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no tensor")

    def persistent_load(self, pid: Any) -> Any:
        """Return the key and dtype of a storage."""
        kind, dtype, key, *_ = pid
        if kind != "storage" or dtype not in DTYPES.values():
            raise pickle.UnpicklingError(f"{kind!r:.50} is no storage of numbers")
        return key, dtype


def _storage_of(tensor: Any) -> tuple[str, str]:
    key, dtype = tensor[0]
    return key, dtype


def _strided(storage: np.ndarray, offset: int, shape: Any, strides: Any) -> np.ndarray:
    """Return a tensor from its storage; tensors need not be stored in the order of their axes."""
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides), default=0) < 0 or last >= len(storage):
        raise ValueError("a tensor lies outside its storage")
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], shape, [step * storage.itemsize for step in strides], writeable=False
    )
    return view.copy()
