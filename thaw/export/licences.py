"""What is known of the licences of the shipped datasets and pretrained weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Licence:
    """A licence.

    Attributes:
        identifier: as Hugging Face lists them; `other` where none of those was stated.
        said: in a sentence.
    """

    identifier: str
    said: str


UNSTATED = Licence("other", "Not stated: yours to fill in.")
DATA = {
    "elpv": Licence(
        "cc-by-nc-sa-4.0",
        "CC BY-NC-SA 4.0 (Buerhop-Lutz et al., ELPV): no commercial use, and what is derived is "
        "shared alike.",
    ),
    "fashion_mnist": Licence("mit", "MIT (Xiao, Rasul and Vollgraf 2017)."),
    "cifar10": Licence("other", "No licence is stated; a citation is asked for (Krizhevsky 2009)."),
}
"""By dataset.source.kind."""
PUBLISHED = {
    "cats_and_dogs_filtered": Licence(
        "other",
        'No licence is stated; from Kaggle\'s "Dogs vs. Cats" by Petfinder and Microsoft, for '
        "research and education.",
    )
}
"""Of kind `published`, by the file's name."""
WEIGHTS = {
    "VGG16": "CC BY 4.0 (Simonyan and Zisserman, Oxford's Visual Geometry Group)",
    "VGG19": "CC BY 4.0 (Simonyan and Zisserman, Oxford's Visual Geometry Group)",
    "ResNet50": "MIT (He et al.)",
    "MobileNetV2": "Apache 2.0 (Sandler et al., Google)",
    "EfficientNetB0": "Apache 2.0 (Tan and Le, Google)",
}
"""Of the ImageNet weights that Keras offers, by application."""


def of_data(source: dict) -> Licence:
    """Of the images that `dataset.source` names."""
    if source.get("kind") == "published":
        name = str(source.get("url", "")).rsplit("/", 1)[-1].split(".")[0]
        return PUBLISHED.get(name, UNSTATED)
    return DATA.get(source.get("kind"), UNSTATED)


def of_weights(backbone: dict | None) -> str:
    """Of the pretrained weights that a model starts from, as a sentence."""
    if not backbone:
        return "None were used: all weights are trained on the data above."
    if backbone.get("weights") != "imagenet":
        return f"{backbone.get('application')}'s are random: none were used."
    application = backbone.get("application")
    known = WEIGHTS.get(application, "not known here, see the page of keras.applications")
    return (
        f"{application}, trained on ImageNet, as Keras offers it: {known}. ImageNet's own pictures "
        f"are for non-commercial research."
    )
