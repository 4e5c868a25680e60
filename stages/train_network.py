"""Train a full network on pixels."""

import numpy as np

from thaw.config.base import Common, load_section, read_params, read_value
from thaw.config.dataset import Dataset, Image
from thaw.data.augmentation import allowed_augmentation, random_flips, random_layers
from thaw.data.split_table import SplitTable
from thaw.errors import UserError
from thaw.models.registry import network_module, validate_network
from thaw.models.saving import save_model
from thaw.runtime.tensorflow import keras, make_deterministic
from thaw.storage.arrays import ArrayFolder
from thaw.storage.files import atomic_write
from thaw.training.batches import Batches, batches
from thaw.training.fit import fit
from thaw.training.losses import LossTerms


def main(name: str) -> None:
    """Write models/NAME: model.keras (from uint8 pixels), record.json and learning curves."""
    parameters = validate_network(read_params("networks", name), name)
    allowed_flips = read_value(Dataset, "dataset", "allowed_flips")
    augmentation = allowed_augmentation(parameters.augmentation, allowed_flips)
    parameters = parameters.model_copy(update={"augmentation": augmentation})
    seed = read_value(Common, "seed")
    rows = SplitTable(confidence_weight=read_value(Dataset, "dataset", "confidence_weight"))
    images = ArrayFolder("data/images")
    make_deterministic(seed)
    shape = images.shape
    try:
        network = network_module(parameters.family).build(parameters, shape, len(rows.classes))
    except ValueError as error:
        raise UserError(
            f"networks.{name} cannot be built for images of {shape[0]} x {shape[1]} pixels "
            f"(dataset.image.size): {str(error).splitlines()[0]}"
        ) from None
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    scaled = keras.layers.Rescaling(1 / 255)(pixels)
    augmented = scaled
    for layer in random_layers(parameters.augmentation):
        augmented = layer(augmented)
    terms = LossTerms(parameters)
    with_loss_outputs = keras.Model(network.inputs, terms.outputs(network))
    trainer = terms.trainer(pixels, with_loss_outputs(augmented))
    # the saved model has no auxiliary classifiers
    predictor = keras.Model(network.inputs, network.outputs[0], name=network.name)
    model = keras.Model(pixels, predictor(scaled))

    def batches_of(split: str, seed: int | None) -> Batches | None:
        split_rows = rows.of(split)
        selected = images.select(split_rows["pixel_sha256"])
        sigmoid = model.output_shape[-1] == 1

        def inputs(n: np.ndarray, random: np.random.Generator) -> np.ndarray:
            return selected[n] if seed is None else random_flips(selected[n], random, augmentation)

        return batches(split_rows, inputs, parameters, seed, sigmoid)

    recipe = {
        "settings": {**parameters.model_dump(), "seed": seed},
        "data": rows.digest(),
        "images": images.digest(),
        "losses": terms.digest,
    }
    with atomic_write(f"models/{name}") as folder:
        folder.mkdir()
        train, validation = batches_of("train", seed), batches_of("validation", None)
        record = fit(model, trainer, train, validation, parameters, recipe, folder)  # type: ignore[arg-type]
        record.classes = rows.classes
        record.image = load_section(Image, "dataset", "image").record()
        save_model(model, folder / "model.keras")
        (folder / "record.json").write_text(record.json())
