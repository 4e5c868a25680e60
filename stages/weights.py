"""Stage weights@NAME: store the weights of a backbone as one .npz file, whatever their source."""

from thaw.config.backbone import Backbone
from thaw.config.base import load_section
from thaw.models.backbones.applications import build_application, named_tensors
from thaw.models.backbones.weights import imagenet_weights
from thaw.runtime.tensorflow import make_deterministic
from thaw.storage.files import atomic_write
from thaw.storage.npz import save_npz, tensors_digest

RANDOM_SEED = 0  # random weights stand for pretrained ones, so they do not depend on `seed`
SIZE = 224  # pixels, of the network that random weights are drawn for; they do not depend on it


def main(name: str) -> None:
    """Write data/weights/NAME.npz: every tensor under its variable path."""
    backbone = load_section(Backbone, "backbones", name)
    if backbone.weights == "imagenet":
        tensors = imagenet_weights(backbone.application, backbone.digest)
    else:
        make_deterministic(RANDOM_SEED)
        tensors = named_tensors(build_application(backbone.application, SIZE))
    with atomic_write(f"data/weights/{name}.npz") as part:
        save_npz(part, tensors)
    count = sum(values.size for values in tensors.values())
    print(f"{backbone.application}: {count:,} parameters, digest {tensors_digest(tensors)}")
