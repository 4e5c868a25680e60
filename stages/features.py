"""Stage features@NAME: run a frozen backbone over every image once and store its outputs."""

from thaw.config.backbone import Backbone
from thaw.config.base import load_section
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
        from thaw.models.backbones.frozen import FrozenBackbone

        frozen = FrozenBackbone(backbone, weights, images.shape, thaw_from=None)
        with filler(runtime, frozen, images) as fill:
            fill(store, missing, "features")
        store.missing(missing)  # downloads what workers computed, several shards at once
    store.share(images.keys)
    print(f"{len(missing):,} of {len(images):,} images are new")
    write_array_folder(f"data/features/{name}", images.keys, store.__getitem__, recipe)
