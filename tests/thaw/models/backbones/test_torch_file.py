import pickle
import struct
from typing import NamedTuple

import numpy as np
import pytest

from thaw.models.backbones.torch_file import MAGIC, VERSION, read_torch_file

HEADER = [MAGIC, VERSION, {"little_endian": True}]


class Storage(NamedTuple):
    """The numbers of tensors."""

    key: str
    values: np.ndarray
    dtype: str = "FloatStorage"


class Tensor(NamedTuple):
    """A view of a storage."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


def torch_bytes(tensors: dict, header: list = HEADER) -> bytes:
    """Return a file in PyTorch's legacy format."""
    storages = {t.storage.key: t.storage for t in tensors.values()}
    parts = [pickle.dumps(part, 2) for part in header]
    parts += [_pickle(tensors), pickle.dumps(list(storages), 2)]
    for storage in storages.values():
        parts.append(struct.pack("<q", len(storage.values)) + storage.values.tobytes())
    return b"".join(parts)


def _pickle(tensors: dict) -> bytes:
    """Pickle by hand: a dictionary of REDUCE calls of torch._utils._rebuild_tensor_v2."""
    text = b"\x80\x02}("
    for name, tensor in tensors.items():
        storage, offset, shape, strides = tensor
        text += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n("
        text += b"(" + _text("storage") + b"ctorch\n" + storage.dtype.encode() + b"\n"
        text += _text(storage.key) + _text("cpu") + _number(len(storage.values)) + b"tQ"
        text += _number(offset) + _tuple(shape) + _tuple(strides) + b"\x89ccollections\n"
        text += b"OrderedDict\n)RtR"
    return text + b"u."


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _tuple(values: tuple) -> bytes:
    return b"(" + b"".join(map(_number, values)) + b"t"


def test_tensors_are_read_by_their_strides_and_offsets():
    values = np.arange(30, dtype="float32")
    tensors = {
        "rows": Tensor(Storage("a", values), 0, (2, 3), (3, 1)),
        "columns": Tensor(Storage("a", values), 4, (2, 3), (1, 2)),
        "count": Tensor(Storage("b", np.array([7]), "LongStorage"), 0, (), ()),
    }
    read = read_torch_file(torch_bytes(tensors))
    np.testing.assert_array_equal(read["rows"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(read["columns"], [[4, 6, 8], [5, 7, 9]])
    assert read["count"] == 7 and read["rows"].dtype == "float32"


def test_a_tensor_outside_its_storage_is_refused():
    tensor = Tensor(Storage("a", np.zeros(6, "float32")), 1, (2, 3), (3, 1))
    with pytest.raises(ValueError, match="outside its storage"):
        read_torch_file(torch_bytes({"weight": tensor}))


def test_code_in_a_pickle_is_never_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return open, (str(tmp_path / "written"), "w")

    content = b"".join(pickle.dumps(part, 2) for part in [*HEADER, Attack()])
    with pytest.raises(ValueError, match="open is no tensor"):
        read_torch_file(content)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04zip", pickle.dumps(3), b"\x80\x02}."])
def test_other_files_are_refused(content):
    with pytest.raises(ValueError, match="PyTorch"):
        read_torch_file(content)
