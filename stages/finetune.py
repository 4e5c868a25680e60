"""Fine-tune: thaw the end of a backbone and train it together with a trained subnet."""

import pandas as pd

from thaw.config.backbone import Backbone
from thaw.config.base import Common, load_section, read_params, read_value
from thaw.config.dataset import Dataset, Image
from thaw.config.finetuning import Finetune
from thaw.data.augmentation import allowed_augmentation
from thaw.data.split_table import SplitTable
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.loading import load_keras_model
from thaw.models.saving import save_model
from thaw.runtime.tensorflow import keras, make_deterministic
from thaw.storage.arrays import ArrayFolder
from thaw.storage.dvc import verify_outputs
from thaw.storage.files import atomic_write
from thaw.training.batches import batches
from thaw.training.finetuning import (
    START_IMAGES,
    CachedViews,
    check_start,
    finished_model,
    initial_weights,
    on_augmented_pixels,
    pixel_inputs,
)
from thaw.training.fit import fit
from thaw.training.gradients import sum_in_float32
from thaw.training.losses import LossTerms


def main(name: str) -> None:
    """Write models/NAME: the model (uint8 pixels in, the output layer out), record.json and
    DVCLive's learning curves."""
    parameters = load_section(Finetune, "finetunes", name)
    augmentation = allowed_augmentation(
        parameters.augmentation, read_value(Dataset, "dataset", "allowed_flips")
    )
    parameters = parameters.model_copy(update={"augmentation": augmentation})
    features = read_params("derived", "finetunes", name, "features")
    backbone = load_section(Backbone, "backbones", features)
    seed = read_value(Common, "seed")
    rows = SplitTable(confidence_weight=read_value(Dataset, "dataset", "confidence_weight"))
    images = ArrayFolder("data/images")
    make_deterministic(seed)
    weights = f"data/weights/{features}.npz"
    verify_outputs(weights, f"models/{parameters.subnet}")
    frozen = FrozenBackbone(backbone, weights, images.shape, parameters.thaw_from)
    subnet = load_keras_model(f"models/{parameters.subnet}/model.keras")
    for layer in frozen.thawed.layers:
        # as when the features were made; trained statistics would drift from the frozen part's
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    sum_in_float32(frozen.thawed)
    below = keras.Input(frozen.network.output_shape[1:], name="frozen")
    end = keras.Model(below, subnet(frozen.thawed(below)))
    terms = LossTerms(parameters)
    read = keras.Model(subnet.inputs, terms.outputs(subnet))  # with what terms read of it
    model = keras.Model(below, read(frozen.thawed(below)))

    cache = CachedViews(frozen, images, parameters)
    train, validation = rows.of("train"), rows.of("validation")
    cached = parameters.cached
    cache.fill(train if cached else train[:0], pd.concat([validation, train[:START_IMAGES]]))
    start = pd.concat([validation, train])[:START_IMAGES]
    check_start(subnet, end, cache, start, parameters.subnet, features, backbone)
    if parameters.reinitialize_head:
        subnet.set_weights(initial_weights(parameters.subnet, subnet, seed))

    sigmoid = end.output_shape[-1] == 1
    if cached:
        data = batches(train, cache.drawn(train), parameters, seed, sigmoid)
        held_out = batches(validation, cache.plain(validation), parameters, None, sigmoid)
    else:
        model = on_augmented_pixels(frozen, model, parameters)
        turning = pixel_inputs(images, train, augmentation)
        data = batches(train, turning, parameters, seed, sigmoid)
        held_out = batches(validation, pixel_inputs(images, validation), parameters, None, sigmoid)
    trainer = terms.trainer(model.inputs, model.outputs)
    recipe = {
        "settings": {**parameters.model_dump(), "seed": seed},
        "backbone": backbone.model_dump(exclude={"digest"}),
        "start": [str(values.sum(dtype="float64")) for values in end.get_weights()],
        "data": rows.digest(),
        "images": images.digest(),
        "losses": terms.digest,
    }
    with atomic_write(f"models/{name}") as folder:
        folder.mkdir()
        trained = not parameters.reinitialize_head
        record = fit(model, trainer, data, held_out, parameters, recipe, folder, trained)
        served = finished_model(frozen, end, parameters)
        record.parameters = served.count_params()
        record.classes = rows.classes
        record.image = load_section(Image, "dataset", "image").record()
        save_model(served, folder / "model.keras")
        (folder / "record.json").write_text(record.json())
    if record.kept == 0:
        print("no epoch had a lower validation loss than the start: the start is kept")
