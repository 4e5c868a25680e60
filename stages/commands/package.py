"""`thaw package`: a trained model as one file that needs nothing of ours."""

import json
import os
import zipfile
from pathlib import Path

from stages.command import Refusal, whole
from stages.commands.trained import CARD, find

INTERPOLATION = {"lanczos": "lanczos3"}
"""What Keras calls Pillow's filters, where it calls them otherwise."""


def package(given: str, out: str, allowed: tuple[str, ...] = ()) -> int:
    """Write a model of models/ as the file `out`.

    `keras.saving.load_model(out)` reads it where this code is not: from uint8 RGB pictures (batch,
    height, width, 3) of any size to class probabilities (batch, classes), float32; of pictures of
    16 bits the upper 8 are to be taken first, as `thaw predict` does. Its member thaw.json has the
    names of the classes.

    Args:
        allowed: classes that the model may have besides Keras's own, see stages.networks.stored.

    Raises:
        Refusal: there is no such model, or `out` is no name for it.
    """
    trained = find(given)
    if trained.packaged:
        raise Refusal(f"{given} is packaged already.")
    if not out.endswith(".keras") or os.path.isdir(out):
        raise Refusal(f"{out}: expected the name of a file that ends in .keras.")
    if Path(out).with_name("record.json").exists():
        raise Refusal(f"{out} lies in the folder of a trained model: expected another place.")

    from stages.commands.assemble import assembled
    from stages.engine import keras
    from stages.training.saving import EPOCH, save_model

    model = assembled(trained, allowed)
    image = trained.image
    pictures = keras.Input((None, None, 3), dtype="uint8", name="pictures")
    whole_model = keras.Model(
        pictures, model(resized(pictures, image.size, image.resampling, image.colour)), name="thaw"
    )
    card = {
        "classes": trained.classes,
        "image": image.model_dump(),
        "model": trained.path.resolve().name,
        "backbone": trained.backbone and trained.backbone.model_dump(),
        "settings": trained.settings,
    }
    with whole(out, shared=True) as part:  # NAME.part may be the user's
        save_model(whole_model, part)
        with zipfile.ZipFile(part, "a") as archive:
            text = json.dumps(card, indent=1, sort_keys=True) + "\n"
            archive.writestr(zipfile.ZipInfo(CARD, EPOCH), text)
    print(
        f"{out}: {Path(out).stat().st_size / 1e6:.1f} MB, from uint8 RGB pictures of any size to "
        f"the probabilities of {', '.join(trained.classes)}"
    )
    return 0


def resized(pictures, size: int, resampling: str, colour: str):
    """uint8 RGB pictures (batch, height, width, 3) of a model that is being made, as
    stages.images.decode makes them: (batch, size, size, 3 or 1), uint8.

    Both calculate in float32 and round once, so that they differ only where a value lies between
    two numbers: by 1, in a few of 10,000.
    """
    from stages.engine import keras

    x = keras.ops.cast(pictures, "float32")
    if colour == "grey":  # exactly as Pillow: these sums of whole numbers are below 2^24
        weighted = x * keras.ops.convert_to_tensor([19595.0, 38470.0, 7471.0])
        x = keras.ops.sum(weighted, axis=-1, keepdims=True)
        x = keras.ops.floor((x + 32768.0) / 65536.0)
    x = keras.ops.image.resize(
        x,
        (size, size),
        interpolation=INTERPOLATION.get(resampling, resampling),
        antialias=True,
        data_format="channels_last",
    )
    return keras.ops.cast(keras.ops.clip(keras.ops.round(x), 0, 255), "uint8")
