"""Stage train_network@N: a full network trained on pixels."""

from stages.command import Refusal, whole
from stages.engine import keras, repeatable
from stages.images.arrays import Arrays
from stages.images.augment import fitting, flipped, layers
from stages.params.base import Common, load, one, read
from stages.params.dataset import Dataset, Image
from stages.params.network import family, network
from stages.training.batches import batches
from stages.training.fit import fit
from stages.training.rows import Rows
from stages.training.saving import save_model
from stages.training.terms import Terms


def main(name: str) -> None:
    """Write models/NAME: the model (uint8 pixels in, the output layer out), record.json and
    DVCLive's learning curves."""
    parameters = network(read("networks", name), name)
    augmentation = fitting(parameters.augmentation, one(Dataset, "dataset", "symmetries"))
    parameters = parameters.model_copy(update={"augmentation": augmentation})
    seed = one(Common, "seed")
    rows, images = Rows(), Arrays("data/images")
    repeatable(seed)
    shape = images.shape
    try:
        built = family(parameters.family).build(parameters, shape, len(rows.classes))
    except ValueError as error:
        raise Refusal(
            f"networks.{name} cannot be built for images of {shape[0]} pixels "
            f"(dataset.image.size): {str(error).splitlines()[0]}"
        ) from None
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    scaled = keras.layers.Rescaling(1 / 255)(pixels)
    augmented = scaled
    for layer in layers(parameters.augmentation):
        augmented = layer(augmented)
    terms = Terms(parameters)
    trainer = terms.trainer(pixels, keras.Model(built.inputs, terms.outputs(built))(augmented))
    plain = keras.Model(built.inputs, built.outputs[0], name=built.name)  # no auxiliary classifier
    model = keras.Model(pixels, plain(scaled))

    def some(split: str, seed: int | None):
        chosen = rows.of(split)
        selected = images.select(chosen["pixels"])
        sigmoid = model.output_shape[-1] == 1

        def inputs(n, random):
            return selected[n] if seed is None else flipped(selected[n], random, augmentation)

        return batches(chosen, inputs, parameters, seed, sigmoid)

    recipe = {
        "settings": {**parameters.model_dump(), "seed": seed},
        "data": rows.digest(),
        "images": images.digest(),
        "losses": terms.digest,
    }
    with whole(f"models/{name}") as folder:
        folder.mkdir()
        train, validation = some("train", seed), some("validation", None)
        record = fit(model, trainer, train, validation, parameters, recipe, folder)
        record.classes = rows.classes
        record.image = load(Image, "dataset", "image").model_dump()
        save_model(model, folder / "model.keras")
        (folder / "record.json").write_text(record.json())
