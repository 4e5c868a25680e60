"""Published recipes as conf/experiment/ has them, with the few departures it gives reasons for.

Source: the publications' figures as gathered in FACTS.md, section 1, which is no part of this
repository; its letter stands at each preset. Where one names an optimizer and no rate, Keras's own.
"""

import pytest

from tests.fixtures.training import term

CONSTANT = {"schedule": "constant", "losses": {"main": term()}}
ADAM = {**CONSTANT, "optimizer": "adam", "learning_rate": 1e-3, "epsilon": 1e-7}
RMSPROP = {**CONSTANT, "optimizer": "rmsprop", "learning_rate": 1e-3, "epsilon": 1e-7}
TO_THE_END = {"patience": None, "keep": "last"}
STILL = {"horizontal_flip": False, "vertical_flip": False, "shear": 0.0, "zoom": 0.0}
SHEARED = {"horizontal_flip": True, "vertical_flip": False, "shear": 0.2, "zoom": 0.2}

DENSE = {
    "family": "dense",
    "units": [78, 78],
    "activation": "relu",
    "dropout": 0.5,
    "slope": 0.3,
    "augmentation": STILL,
    **ADAM,
    "learning_rate": 1e-4,
    "epsilon": 1e-4,
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
    "slope": 0.1,
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
    "fresh": False,
    "thaw_from": "block5_conv1",
    "augmentation": SHEARED,
    "average_flips": False,
    **CONSTANT,
    **TO_THE_END,
    "optimizer": "sgd",
    "learning_rate": 1e-4,
    "momentum": 0.9,
    "batch_size": 16,
    "epochs": 50,
}
RESNET = {
    "family": "resnet",
    "base": 16,
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
    "towers": ["3x3", "5x5", "pool"],
    "filters": 64,
    "reduced": True,
    "halved": False,
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
    "learning_rate": 1e-4,
    "epochs": 150,  # 100 of 3,000 images
}
END_TO_END = {
    "subnet": "gap1024",
    "fresh": True,
    "thaw_from": None,
    "through": "network",
    "augmentation": STILL,
    "average_flips": False,
    **ADAM,
    **OF_30,
    **LONGER,
}
RESCALED = {"application": "VGG16", "weights": "imagenet", "preprocessing": "rescale"}

RECIPES = {
    "fashion_dense": {  # A
        "dataset.split": {"test": 0, "validation": 0.1},
        "dataset.image": {"size": 28, "colour": "grey"},
        "networks.dense": DENSE,
    },
    "fashion_cnn": {  # B
        "dataset.split": {"test": 0, "validation": 0.2, "seed": 13},
        "dataset.image": {"size": 28, "colour": "grey"},
        "networks.leaky_cnn": LEAKY_CNN,
        "networks.leaky_cnn_dropout": {
            **LEAKY_CNN,
            "block_dropout": [0.25, 0.25, 0.4],
            "dropout": 0.3,
        },
    },
    "little_data": {  # C
        "dataset.split": {"test": 0, "validation": 0.0},
        "dataset.image": {"size": 150, "colour": "rgb"},
        "backbones.vgg16": RESCALED,
        "networks.small_cnn": SMALL_CNN,
        "subnets.fc256": BOTTLENECK,
        "finetunes.finetuned": FINETUNED,
    },
    "fashion_resnet": {  # D
        "dataset.split": {"test": 0, "validation": 0.1},
        "dataset.image": {"size": 28, "colour": "grey"},
        "networks.resnet": RESNET,
    },
    "cifar_inception": {  # E
        "dataset.split": {"test": 0, "validation": 0.1},
        "dataset.image": {"size": 32, "colour": "rgb"},
        "networks.inception": INCEPTION,
    },
    "cifar_googlenet": {  # E
        "networks.googlenet": {
            "auxiliary": [1, 2],
            "losses": {
                "main": term(),
                "auxiliary1": term(weight=0.3, at="auxiliary1"),
                "auxiliary2": term(weight=0.3, at="auxiliary2"),
            },
        },
        "networks.plain": {"auxiliary": [], "losses": {"main": term()}},
    },
    "transfer": {  # E
        "dataset.split": {"test": 0, "validation": 0.0},
        "dataset.image": {"size": 150, "colour": "rgb"},
        "backbones.vgg16": RESCALED,
        "networks.wide_cnn": WIDE_CNN,
        "subnets.gap1024": POOLED,
        "subnets.fc512x2": DEEPER,
        "finetunes.end_to_end": END_TO_END,
    },
    "preprocessings": {  # C: both are offered, and the right one is the default
        "backbones.vgg16": {**RESCALED, "preprocessing": "own"},
        "backbones.vgg16_rescaled": RESCALED,
        "subnets.fc256": {"features": "vgg16"},
        "subnets.fc256_rescaled": {"features": "vgg16_rescaled"},
    },
}


@pytest.mark.parametrize("preset", RECIPES)
def test_a_preset_is_the_recipe_that_was_published(compose, preset):
    composed = compose(f"experiment={preset}")
    for section, published in RECIPES[preset].items():
        room, name = section.split(".")
        given = composed[room][name]
        assert {key: given[key] for key in published} == published, section
