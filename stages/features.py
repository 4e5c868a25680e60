"""Stage features@B: the backbone's outputs for every image, whatever its split, each once."""

from stages.images.arrays import Arrays, write_arrays
from stages.images.recorded import adopt
from stages.inputs import checked
from stages.networks.recipe import frozen_recipe
from stages.params.backbone import Backbone
from stages.params.base import load
from stages.params.runtime import chosen
from stages.store import Store


def main(name: str) -> None:
    """Write data/features/NAME: bottleneck features (height, width, channels) under the identity
    of each picture's pixels; float32, or float16 where the arithmetic is bfloat16."""
    backbone = load(Backbone, "backbones", name)
    images, weights = Arrays("data/images"), f"data/weights/{name}.npz"
    checked(weights)
    recipe = frozen_recipe(backbone, weights, thaw_from=None)
    store = Store("frozen", recipe)
    adopt(store, images.keys, f"data/features/{name}")
    if missing := store.missing(images.keys):
        runtime = chosen()
        from stages.networks.cluster import passes_in
        from stages.networks.frozen import Frozen  # TensorFlow takes seconds to start

        frozen = Frozen(backbone, weights, images.shape, thaw_from=None)
        with passes_in(runtime, frozen) as passes:
            frozen.fill(store, missing, images.__getitem__, "features", passes)
    print(f"{len(missing):,} of {len(images):,} images are new")
    write_arrays(f"data/features/{name}", images.keys, store.__getitem__, recipe)
