"""Stage features@NAME: run a frozen backbone over every image once and store its outputs."""

from thaw.config.backbone import Backbone
from thaw.config.base import load_section, read_params
from thaw.config.runtime import selected_runtime
from thaw.models.backbones.recipe import frozen_recipe
from thaw.storage.arrays import ArrayFolder, write_array_folder
from thaw.storage.dvc import verify_outputs
from thaw.storage.recovery import recover_rows
from thaw.storage.store import Store


def main(name: str) -> None:
    """Write data/features/NAME: bottleneck features (height, width, channels) of each image under
    the hash of its pixels, float32, or float16 if the backbone computes in bfloat16.

    All splits are included, so a new split extracts nothing.
    """
    backbone = load_section(Backbone, "backbones", name)
    images, weights = ArrayFolder("data/images"), f"data/weights/{name}.npz"
    verify_outputs(weights)
    recipe = frozen_recipe(backbone, weights, thaw_from=None)
    store = Store("frozen", recipe)
    recover_rows(store, images.keys, f"data/features/{name}")
    if missing := store.missing(images.keys):
        runtime = selected_runtime()
        from thaw.models.backbones.filling import filler  # TensorFlow takes seconds to start
        from thaw.models.backbones.one_pass import features_network

        thaw_from = thawed_layer(name) if runtime.kind == "local" else None
        frozen = features_network(backbone, weights, images.shape, thaw_from, len(missing))
        with filler(runtime, frozen, images) as fill:
            fill(store, missing, "features")
        store.missing(missing)  # downloads what workers computed, several shards at once
    store.share(images.keys)
    print(f"{len(missing):,} of {len(images):,} images are new")
    write_array_folder(f"data/features/{name}", images.keys, store.__getitem__, recipe)


def thawed_layer(name: str) -> str | None:
    """Return the layer from which a fine-tuning on cached outputs thaws this backbone, or None.

    It only says what else goes to the store, so dvc.yaml does not list these parameters.
    """
    for finetune, reads in read_params("derived", "finetunes").items():
        parameters = read_params("finetunes", finetune)
        if reads["features"] == name and parameters["cached"] and parameters["thaw_from"]:
            return str(parameters["thaw_from"])
    return None
