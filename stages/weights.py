"""Stage weights@B: the weights of a backbone's convolutional base, in one form."""

from thaw.config.backbone import Backbone
from thaw.config.base import load_section
from thaw.models.backbones.applications import build_application, named_tensors
from thaw.models.backbones.weights import imagenet_weights
from thaw.runtime.tensorflow import make_deterministic
from thaw.storage.files import atomic_write
from thaw.storage.npz import save_npz, tensors_digest

RANDOM_SEED = 0
SIZE = 224
"""Of the network they are read through, pixels; weights do not depend on it."""


def main(name: str) -> None:
    """Write data/weights/NAME.npz: every tensor by its path, the same bytes whatever the source."""
    backbone = load_section(Backbone, "backbones", name)
    if backbone.weights == "imagenet":
        held = imagenet_weights(backbone.application, backbone.digest)
    else:
        make_deterministic(RANDOM_SEED)
        held = named_tensors(build_application(backbone.application, SIZE))
    with atomic_write(f"data/weights/{name}.npz") as part:
        save_npz(part, held)
    count = sum(values.size for values in held.values())
    print(f"{backbone.application}: {count:,} parameters, digest {tensors_digest(held)}")
