"""Save models as files that are byte for byte the same for the same weights."""

import json
import re
import tempfile
import zipfile
from pathlib import Path

from thaw.runtime.tensorflow import keras
from thaw.storage.files import atomic_write

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of the zip format, instead of the current time


def save_model(model: keras.Model, path: str | Path) -> None:
    """Write `model`, not compiled, in Keras's format, without the time of saving and the memory
    addresses that Keras adds.

    `keras.saving.load_model(path)` reads the file without any code of thaw.

    Args:
        model: has only Keras's own layers and operations.
        path: of the .keras file.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        model.save(saved)
        with (
            atomic_write(path) as part,
            zipfile.ZipFile(saved) as source,
            zipfile.ZipFile(part, "w") as target,
        ):
            for member in sorted(source.namelist()):
                content = source.read(member)
                if member == "metadata.json":
                    metadata = json.loads(content)
                    metadata.pop("date_saved", None)
                    content = json.dumps(metadata, sort_keys=True).encode()
                if member == "config.json":
                    content = _renumber_shared_objects(content)
                target.writestr(zipfile.ZipInfo(member, EPOCH), content)


def _renumber_shared_objects(config: bytes) -> bytes:
    """Return `config` with shared_object_id counted from 1: Keras writes memory addresses, which
    differ in each run.
    """
    numbers: dict[bytes, int] = {}
    return re.sub(
        rb'(?<="shared_object_id": )\d+',
        lambda match: b"%d" % numbers.setdefault(match[0], len(numbers) + 1),
        config,
    )
