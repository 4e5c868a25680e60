"""Stage weights@B: the weights of a backbone's convolutional base, in one form."""

from stages.command import whole
from stages.engine import repeatable
from stages.networks.backbone import application, tensors
from stages.networks.digest import digest, save_arrays
from stages.params.backbone import Backbone
from stages.params.base import load
from stages.sources.weights import imagenet

RANDOM_SEED = 0
SIZE = 224
"""Of the network they are read through, pixels; weights do not depend on it."""


def main(name: str) -> None:
    """Write data/weights/NAME.npz: every tensor by its path, the same bytes whatever the source."""
    backbone = load(Backbone, "backbones", name)
    if backbone.weights == "imagenet":
        held = imagenet(backbone.application, backbone.digest)
    else:
        repeatable(RANDOM_SEED)
        held = tensors(application(backbone.application, SIZE))
    with whole(f"data/weights/{name}.npz") as part:
        save_arrays(part, held)
    count = sum(values.size for values in held.values())
    print(f"{backbone.application}: {count:,} parameters, digest {digest(held)}")
