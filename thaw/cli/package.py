"""`thaw package`: write a trained model as one file that Keras reads without Thaw."""

import argparse
import json
import os
import tempfile
from pathlib import Path

from thaw.cli.arguments import add_allow
from thaw.errors import UserError
from thaw.export.portable import MIN_KERAS, write_portable
from thaw.models.bundle import CARD, model_or_best
from thaw.storage.files import atomic_write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw package`."""
    parser.description = (
        f"Write one file that keras.saving.load_model of Keras {MIN_KERAS} or newer reads without "
        "Thaw. It maps uint8 RGB images of any size (batch, height, width, 3) to class "
        "probabilities. Reduce images of 16 bits to their upper 8 bits first, as `thaw predict` "
        "does."
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a name in models/; default: the model that results/best.json names",
    )
    parser.add_argument("out", metavar="OUT.keras")
    add_allow(parser)
    parser.set_defaults(run=lambda a: package(a.model, a.out, tuple(a.allow)))


def package(model_name: str | None, out: str, allowed: tuple[str, ...] = ()) -> int:
    """Write a model of models/ as the file `out`.

    `keras.saving.load_model(out)` of Keras 3.6 or newer reads it without Thaw. It maps uint8 RGB
    images (batch, height, width, 3) of any size to class probabilities (batch, classes), float32.
    Of images with 16 bits the upper 8 are to be taken first, as `thaw predict` does. The member
    thaw.json of the file has the names of the classes, metadata.json the versions of Keras.

    Args:
        model_name: a name in models/, or a model's folder; None takes the best model and prints
            its name.
        out: a path that ends in .keras.
        allowed: classes that the model may contain besides Keras's own, see thaw.models.loading.

    Returns:
        0, the exit code.

    Raises:
        UserError: there is no such model, or `out` cannot be used.
    """
    trained = model_or_best(model_name)
    if trained.packaged:
        raise UserError(f"{model_name} is packaged already.")
    if not out.endswith(".keras") or os.path.isdir(out):
        raise UserError(f"{out}: expected the name of a file that ends in .keras.")
    if Path(out).with_name("record.json").exists():
        raise UserError(f"{out} is in the folder of a trained model: expected another place.")

    from thaw.models.assembly import assemble
    from thaw.models.resizing import resize_pictures
    from thaw.models.saving import save_model
    from thaw.runtime.tensorflow import keras

    model = assemble(trained, allowed)
    image = trained.image
    pictures = keras.Input((None, None, 3), dtype="uint8", name="pictures")
    whole_model = keras.Model(
        pictures,
        model(resize_pictures(pictures, image.size, image.resampling, image.colour, image.fit)),
        name="thaw",
    )
    card = {
        "classes": trained.classes,
        "image": image.record(),
        "keras": f">={MIN_KERAS}",
        "model": trained.name,
        "backbone": trained.backbone and trained.backbone.model_dump(),
        "settings": trained.settings,
    }
    text = json.dumps(card, indent=1, sort_keys=True) + "\n"
    with (
        tempfile.TemporaryDirectory() as folder,
        atomic_write(out, shared=True) as part,  # NAME.part may be the user's file
    ):
        saved = Path(folder) / "saved.keras"
        save_model(whole_model, saved)
        write_portable(saved, part, {CARD: text})
    print(
        f"{out}: {Path(out).stat().st_size / 1e6:.1f} MB, from uint8 RGB images of any size to "
        f"the probabilities of {', '.join(trained.classes)}; for Keras {MIN_KERAS} or newer"
    )
    return 0
