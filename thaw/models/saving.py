"""Models as files that are the same bytes for the same weights."""

import json
import re
import tempfile
import zipfile
from pathlib import Path

from thaw.runtime.tensorflow import keras
from thaw.storage.files import atomic_write

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The zip format's first moment, in place of the time of saving."""


def save_model(model: keras.Model, path: str | Path) -> None:
    """Write `model`, not compiled, in Keras's own format, without the times and the places in
    memory that Keras puts in it.

    `keras.saving.load_model(path)` reads it, with none of this code.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        model.save(saved)
        with (
            atomic_write(path) as part,
            zipfile.ZipFile(saved) as before,
            zipfile.ZipFile(part, "w") as after,
        ):
            for entry in sorted(before.namelist()):
                content = before.read(entry)
                if entry == "metadata.json":
                    kept = {k: v for k, v in json.loads(content).items() if k != "date_saved"}
                    content = json.dumps(kept, sort_keys=True).encode()
                if entry == "config.json":
                    content = _renumbered(content)
                after.writestr(zipfile.ZipInfo(entry, EPOCH), content)


def _renumbered(config: bytes) -> bytes:
    """`config` with what layers share numbered from 1: Keras takes its address, new in each run."""
    numbers: dict[bytes, int] = {}
    return re.sub(
        rb'(?<="shared_object_id": )\d+',
        lambda found: b"%d" % numbers.setdefault(found[0], len(numbers) + 1),
        config,
    )
