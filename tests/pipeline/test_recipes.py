"""Compare the presets in conf/experiment/ with the published recipes that they reproduce.

Departures are explained in the presets. Where a publication gives no learning rate, the optimizer
has Keras's default.
"""

import pytest

from thaw.config.finetuning import Finetune
from thaw.config.subnet import validate_subnet
from thaw.models.registry import validate_network


def cross_entropy(weight: float = 1.0, output: str | None = None) -> dict:
    return {"function": "cross_entropy", "weight": weight, "output": output, "layer": None}


def optimizer(name: str, learning_rate: float = 1e-3, epsilon: float = 1e-7) -> dict:
    return {"name": name, "learning_rate": learning_rate, "epsilon": epsilon}


CONSTANT = {"schedule": "constant", "losses": {"main": cross_entropy()}}
ADAM = {**CONSTANT, "optimizer": optimizer("adam")}
RMSPROP = {**CONSTANT, "optimizer": optimizer("rmsprop")}
TO_THE_END = {"patience": None, "keep": "last"}
STILL = {"horizontal_flip": False, "vertical_flip": False, "shear": 0.0, "zoom": 0.0}
SHEARED = {"horizontal_flip": True, "vertical_flip": False, "shear": 0.2, "zoom": 0.2}

DENSE = {
    "family": "dense",
    "units": [78, 78],
    "activation": "relu",
    "dropout": 0.5,
    "negative_slope": 0.3,
    "augmentation": STILL,
    **ADAM,
    "optimizer": optimizer("adam", 1e-4, 1e-4),
    "batch_size": 128,
    "epochs": 3000,
    "patience": 50,
    "monitor": "loss",
    "keep": "best",
}
LEAKY_CNN = {
    "family": "cnn",
    "filters": [32, 64, 128],
    "convolutions": [1, 1, 1],
    "padding": "same",
    "batch_norm": False,
    "activation": "leaky_relu",
    "negative_slope": 0.1,
    "block_dropout": [0.0, 0.0, 0.0],
    "pooling": "flatten",
    "units": [128],
    "dropout": 0.0,
    "augmentation": STILL,
    **ADAM,
    **TO_THE_END,
    "batch_size": 64,
    "epochs": 20,
}
SMALL_CNN = {
    "family": "cnn",
    "filters": [32, 32, 64],
    "convolutions": [1, 1, 1],
    "padding": "valid",
    "batch_norm": False,
    "activation": "relu",
    "block_dropout": [0.0, 0.0, 0.0],
    "pooling": "flatten",
    "units": [64],
    "dropout": 0.5,
    "augmentation": SHEARED,
    **RMSPROP,
    **TO_THE_END,
    "batch_size": 16,
    "epochs": 50,
}
BOTTLENECK = {
    "pooling": "flatten",
    "units": [256],
    "activation": "relu",
    "dropout": 0.5,
    "l1": 0.0,
    "l2": 0.0,
    "output": "auto",
    **RMSPROP,
    **TO_THE_END,
    "batch_size": 16,
    "epochs": 50,
}
FINETUNED = {
    "subnet": "fc256",
    "reinitialize_head": False,
    "thaw_from": "block5_conv1",
    "augmentation": SHEARED,
    "test_time_augmentation": False,
    **CONSTANT,
    **TO_THE_END,
    "optimizer": {"name": "sgd", "learning_rate": 1e-4, "momentum": 0.9},
    "batch_size": 16,
    "epochs": 50,
}
RESNET = {
    "family": "resnet",
    "stem_filters": 16,
    "blocks": [16, 32, 32, 64],
    "units": [512],
    "augmentation": STILL,
    **ADAM,
    "batch_size": 32,
    "epochs": 30,
    "patience": None,
    "monitor": "accuracy",
    "keep": "best",
}
INCEPTION = {
    "family": "inception",
    "modules": 1,
    "branches": ["3x3", "5x5", "pool"],
    "filters": 64,
    "bottleneck": True,
    "downsample": False,
    "auxiliary": [],
    "augmentation": STILL,
    **ADAM,
    "batch_size": 32,
    "epochs": 50,
}
OF_30 = {**TO_THE_END, "batch_size": 30}
LONGER = {"epochs": 3}  # 2 of 3,000 images, of which 2,000 are public
WIDE_CNN = {
    **SMALL_CNN,
    "filters": [16, 64, 128],
    "units": [512],
    "dropout": 0.0,
    "augmentation": STILL,
    **OF_30,
    **LONGER,
}
POOLED = {
    "pooling": "average",
    "units": [1024],
    "activation": "relu",
    "dropout": 0.0,
    "output": "softmax",
    **ADAM,
    **OF_30,
    **LONGER,
}
DEEPER = {
    "pooling": "flatten",
    "units": [512, 512],
    "activation": "relu",
    "dropout": 0.3,
    "output": "auto",
    **ADAM,
    **OF_30,
    "optimizer": optimizer("adam", 1e-4),
    "epochs": 150,  # 100 of 3,000 images
}
END_TO_END = {
    "subnet": "gap1024",
    "reinitialize_head": True,
    "thaw_from": None,
    "cached": False,
    "augmentation": STILL,
    "test_time_augmentation": False,
    **ADAM,
    **OF_30,
    **LONGER,
}
RESCALED = {"application": "VGG16", "weights": "imagenet", "preprocessing": "rescale"}

RECIPES = {
    "fashion_dense": {
        "dataset.split": {"test": 0, "validation": 0.1},
        "dataset.image": {"size": 28, "colour": "grey"},
        "networks.dense": DENSE,
    },
    "fashion_cnn": {
        "dataset.split": {"test": 0, "validation": 0.2, "seed": 13},
        "dataset.image": {"size": 28, "colour": "grey"},
        "networks.leaky_cnn": LEAKY_CNN,
        "networks.leaky_cnn_dropout": {
            **LEAKY_CNN,
            "block_dropout": [0.25, 0.25, 0.4],
            "dropout": 0.3,
        },
    },
    "little_data": {
        "dataset.split": {"test": 0, "validation": 0.0},
        "dataset.image": {"size": 150, "colour": "rgb"},
        "backbones.vgg16": RESCALED,
        "networks.small_cnn": SMALL_CNN,
        "subnets.fc256": BOTTLENECK,
        "finetunes.finetuned": FINETUNED,
    },
    "fashion_resnet": {
        "dataset.split": {"test": 0, "validation": 0.1},
        "dataset.image": {"size": 28, "colour": "grey"},
        "networks.resnet": RESNET,
    },
    "cifar_inception": {
        "dataset.split": {"test": 0, "validation": 0.1},
        "dataset.image": {"size": 32, "colour": "rgb"},
        "networks.inception": INCEPTION,
    },
    "cifar_googlenet": {
        "networks.googlenet": {
            "auxiliary": [1, 2],
            "losses": {
                "main": cross_entropy(),
                "auxiliary1": cross_entropy(0.3, "auxiliary1"),
                "auxiliary2": cross_entropy(0.3, "auxiliary2"),
            },
        },
        "networks.plain": {"auxiliary": [], "losses": {"main": cross_entropy()}},
    },
    "transfer": {
        "dataset.split": {"test": 0, "validation": 0.0},
        "dataset.image": {"size": 150, "colour": "rgb"},
        "backbones.vgg16": RESCALED,
        "networks.wide_cnn": WIDE_CNN,
        "subnets.gap1024": POOLED,
        "subnets.fc512x2": DEEPER,
        "finetunes.end_to_end": END_TO_END,
    },
    "preprocessings": {  # both are offered, and the correct one is the default
        "backbones.vgg16": {**RESCALED, "preprocessing": "own"},
        "backbones.vgg16_rescaled": RESCALED,
        "subnets.fc256": {"features": "vgg16"},
        "subnets.fc256_rescaled": {"features": "vgg16_rescaled"},
    },
}


@pytest.mark.parametrize("preset", RECIPES)
def test_a_preset_is_the_published_recipe(compose, preset):
    composed = compose(f"experiment={preset}")
    for section, published in RECIPES[preset].items():
        group, name = section.split(".")
        values = with_defaults(group, name, composed[group][name])
        assert {key: values[key] for key in published} == published, section


def with_defaults(group: str, name: str, values: dict) -> dict:
    """Return a composed section with the default of each optional parameter that it lacks."""
    if group == "networks":
        return validate_network(values, name).model_dump()
    if group == "subnets":
        return validate_subnet(values, name).model_dump()
    return Finetune(**values).model_dump() if group == "finetunes" else values
