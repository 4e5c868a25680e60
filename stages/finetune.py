"""Fine-tune: thaw the last layers of a backbone and train them together with a trained subnet."""

import pandas as pd

from thaw.config.backbone import Backbone
from thaw.config.base import Common, load_section, read_params, read_value
from thaw.config.dataset import Dataset, Image
from thaw.config.finetuning import Finetune
from thaw.data.augmentation import allowed_augmentation
from thaw.data.split_table import SplitTable
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.backbones.views import CachedViews
from thaw.models.saving import save_model
from thaw.runtime.tensorflow import make_deterministic
from thaw.storage.arrays import ArrayFolder
from thaw.storage.dvc import verify_outputs
from thaw.storage.files import atomic_write
from thaw.training import finetuning
from thaw.training.batches import batches
from thaw.training.fit import fit
from thaw.training.losses import LossTerms


def main(name: str) -> None:
    """Write models/NAME: model.keras (from uint8 pixels), record.json and learning curves."""
    parameters = load_section(Finetune, "finetunes", name)
    allowed_flips = read_value(Dataset, "dataset", "allowed_flips")
    augmentation = allowed_augmentation(parameters.augmentation, allowed_flips)
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
    subnet = finetuning.load_subnet(parameters.subnet, frozen.thawed.output_shape[1:])
    terms = LossTerms(parameters)
    end, model = finetuning.assemble(frozen, subnet, terms)

    cache = CachedViews(frozen, images, augmentation, parameters.augmented_views)
    train, validation = rows.of("train"), rows.of("validation")
    compared = finetuning.START_IMAGES
    augmented = train if parameters.cached else train[:0]
    plain = pd.concat([validation, train[:compared]])
    cache.fill(augmented["pixel_sha256"], plain["pixel_sha256"])
    flipped = finetuning.cached_flips(frozen, images, validation, parameters)
    start = pd.concat([validation, train])[:compared]
    finetuning.check_start(subnet, end, cache, start, parameters.subnet, features, backbone)
    if parameters.reinitialize_head:
        subnet.set_weights(finetuning.initial_weights(parameters.subnet, subnet, seed))

    if parameters.cached:
        inputs, validation_inputs = cache.augmented(train), cache.plain(validation)
    else:
        model = finetuning.on_augmented_pixels(frozen, model, parameters)
        inputs = finetuning.pixel_inputs(images, train, augmentation)
        validation_inputs = finetuning.pixel_inputs(images, validation)
    sigmoid = end.output_shape[-1] == 1
    train_batches = batches(train, inputs, parameters, seed, sigmoid)
    validation_batches = batches(validation, validation_inputs, parameters, None, sigmoid)
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
        data = train_batches, validation_batches
        record = fit(model, trainer, *data, parameters, recipe, folder, trained)  # type: ignore[arg-type]
        parameters = finetuning.choose_flips(flipped, end, validation, parameters)
        record.settings["test_time_augmentation"] = parameters.test_time_augmentation
        if parameters.cached:
            digest = frozen.recipe["weights"]
            record.frozen = {"name": features, **backbone.model_dump(), "digest": digest}
        finished = finetuning.finished_model(frozen, end, parameters)
        record.parameters = finished.count_params()
        record.classes = rows.classes
        record.image = load_section(Image, "dataset", "image").record()
        save_model(finished, folder / "model.keras")
        (folder / "record.json").write_text(record.json())
    if record.kept == 0:
        print("no epoch improved on the start, so the start's weights are kept")
