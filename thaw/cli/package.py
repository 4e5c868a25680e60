"""`thaw package`: a trained model as one file that needs nothing of ours."""

import json
import os
import zipfile
from pathlib import Path

from thaw.errors import UserError
from thaw.models.bundle import CARD, find_model
from thaw.storage.files import atomic_write


def package(given: str, out: str, allowed: tuple[str, ...] = ()) -> int:
    """Write a model of models/ as the file `out`.

    `keras.saving.load_model(out)` reads it where this code is not: from uint8 RGB pictures (batch,
    height, width, 3) of any size to class probabilities (batch, classes), float32; of pictures of
    16 bits the upper 8 are to be taken first, as `thaw predict` does. Its member thaw.json has the
    names of the classes.

    Args:
        allowed: classes that the model may have besides Keras's own, see thaw.models.loading.

    Raises:
        UserError: there is no such model, or `out` is no name for it.
    """
    trained = find_model(given)
    if trained.packaged:
        raise UserError(f"{given} is packaged already.")
    if not out.endswith(".keras") or os.path.isdir(out):
        raise UserError(f"{out}: expected the name of a file that ends in .keras.")
    if Path(out).with_name("record.json").exists():
        raise UserError(f"{out} lies in the folder of a trained model: expected another place.")

    from thaw.models.assembly import assemble
    from thaw.models.resizing import resize_pictures
    from thaw.models.saving import EPOCH, save_model
    from thaw.runtime.tensorflow import keras

    model = assemble(trained, allowed)
    image = trained.image
    pictures = keras.Input((None, None, 3), dtype="uint8", name="pictures")
    whole_model = keras.Model(
        pictures,
        model(resize_pictures(pictures, image.size, image.resampling, image.colour)),
        name="thaw",
    )
    card = {
        "classes": trained.classes,
        "image": image.record(),
        "model": trained.path.resolve().name,
        "backbone": trained.backbone and trained.backbone.model_dump(),
        "settings": trained.settings,
    }
    with atomic_write(out, shared=True) as part:  # NAME.part may be the user's
        save_model(whole_model, part)
        with zipfile.ZipFile(part, "a") as archive:
            text = json.dumps(card, indent=1, sort_keys=True) + "\n"
            archive.writestr(zipfile.ZipInfo(CARD, EPOCH), text)
    print(
        f"{out}: {Path(out).stat().st_size / 1e6:.1f} MB, from uint8 RGB pictures of any size to "
        f"the probabilities of {', '.join(trained.classes)}"
    )
    return 0
