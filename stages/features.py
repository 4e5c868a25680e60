"""Stage features@B: the backbone's outputs for every image, whatever its split, each once."""

from stages.command import run
from stages.images.arrays import Arrays, write_arrays
from stages.networks.frozen import Frozen
from stages.params.backbone import Backbone
from stages.params.base import load


def main(name: str) -> None:
    """Write data/features/NAME: bottleneck features (height, width, channels) under the identity
    of each picture's pixels; float32, or float16 where the arithmetic is bfloat16."""
    backbone = load(Backbone, "backbones", name)
    images = Arrays("data/images")
    frozen = Frozen(backbone, f"data/weights/{name}.npz", images.rows.shape[1:], thaw_from=None)
    store = frozen.store()
    new = frozen.fill(store, images.keys, images.__getitem__, "features")
    print(f"{new:,} of {len(images):,} images are new")
    write_arrays(f"data/features/{name}", images.keys, store.__getitem__)


if __name__ == "__main__":
    run(main)
