"""Models as files that are the same bytes for the same weights."""

import json
import tempfile
import zipfile
from pathlib import Path

from stages.command import whole
from stages.engine import keras

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The zip format's first moment, in place of the time of saving."""


def save_model(model: keras.Model, path: str | Path) -> None:
    """Write `model`, not compiled, in Keras's own format, without the times that Keras puts in it.

    `keras.saving.load_model(path, compile=False)` reads it, once the module that defines its
    layers is imported.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        model.save(saved)
        with (
            whole(path) as part,
            zipfile.ZipFile(saved) as before,
            zipfile.ZipFile(part, "w") as after,
        ):
            for entry in sorted(before.namelist()):
                content = before.read(entry)
                if entry == "metadata.json":
                    kept = {k: v for k, v in json.loads(content).items() if k != "date_saved"}
                    content = json.dumps(kept, sort_keys=True).encode()
                after.writestr(zipfile.ZipInfo(entry, EPOCH), content)
