"""`thaw classify`: what pictures show, by a network that ImageNet trained, with its own top."""

import contextlib
import json
import os
import socket
import sys
import warnings

import numpy as np

from thaw.cli.output import column_formatter, output_writer, report_unreadable, stream_predictions
from thaw.config.base import did_you_mean
from thaw.config.dataset import Image
from thaw.data import pictures
from thaw.data.download.mirror import mirrored
from thaw.errors import UserError

BATCH_SIZE = 32
RESAMPLING = "nearest"
"""As keras.utils.load_img, by which published answers were made."""

INDEX = "imagenet_class_index.json"
INDEX_URL = f"https://storage.googleapis.com/download.tensorflow.org/data/{INDEX}"
INDEX_MD5 = "c2c37ea517e94d9795004a39431a14cb"
"""Source: keras.applications.imagenet_utils."""


def classify(given: list[str], backbone: str, top: int, as_json: bool) -> int:
    """Write the `top` classes of each picture with their scores; give how many could not be read.

    Args:
        given: pictures, and folders of them.
        backbone: a network of keras.applications, as vgg16, mobilenet_v2 or VGG16.

    Raises:
        UserError: there is no such path or network, or no source has its weights or the classes.
    """
    files = pictures.find_pictures(given)
    mirrored(".h5")  # a THAW_MIRROR that is nowhere is refused before TensorFlow starts
    with _downloading():
        name = _application(backbone)
        network = _network(name)
        classes = _classes()
    size = network.input_shape[1]
    if network.output_shape[-1] != len(classes):
        raise UserError(
            f"{INDEX} has {len(classes):,} classes and {name} {network.output_shape[-1]:,}."
        )
    widths = [min(60, max(map(len, files))), 9, max(len(label) for _, label in classes), 0]
    headings = ["file", "id", "class", "score"]
    line = column_formatter(headings, widths)
    bad = 0
    image = Image(size=size, resampling=RESAMPLING, colour="rgb")
    with output_writer(None) as write:
        write("" if as_json else line(*headings))
        for some in stream_predictions(network.predict_on_batch, files, image, BATCH_SIZE):
            said = []
            for picture, scores in some:
                bad += scores is None
                best = [] if scores is None else np.argsort(-scores, kind="stable")[:top]
                rows = [(*classes[n], float(scores[n])) for n in best]
                if not as_json:
                    said += [line(picture.file, *row, f"{score:.3f}") for *row, score in rows]
                elif scores is None:
                    said.append(json.dumps({"file": picture.file, "error": picture.problem}) + "\n")
                else:
                    found = [{"id": i, "class": c, "score": round(s, 6)} for i, c, s in rows]
                    said.append(json.dumps({"file": picture.file, "classes": found}) + "\n")
            write("".join(said))
    return report_unreadable(bad, len(files))


def _application(given: str) -> str:
    """The class name of a network of keras.applications, however its name is written."""
    from thaw.runtime.tensorflow import keras

    def plain(text: str) -> str:
        return text.lower().replace("_", "").replace("-", "")

    known = {plain(n): n for n in dir(keras.applications) if n[0].isupper()}
    if plain(given) not in known:
        raise UserError(
            f"--backbone {given}: no network of keras.applications."
            f"{did_you_mean(plain(given), known)} There are: {', '.join(known.values())}."
        )
    return known[plain(given)]


def _network(name: str):
    """From uint8 pixels (batch, size, size, 3) to the scores of ImageNet's classes."""
    from thaw.models.backbones.applications import assign_tensors, preprocess_pixels
    from thaw.models.backbones.weights import imagenet_weights
    from thaw.runtime.tensorflow import keras

    try:
        held = imagenet_weights(name, None, top=True)
    except UserError as error:
        first, *sources, advice = (part.strip() for part in str(error).splitlines())
        raise UserError(f"{first} {'; '.join(sources)}. {advice}") from None
    keras.utils.clear_session()  # its layers without a name are numbered from 0, as in `held`
    model = getattr(keras.applications, name)(weights=None)
    assign_tensors(held, model)
    size = model.input_shape[1] or 224  # MobileNetV3 takes any, and was trained at this
    pixels = keras.Input((size, size, 3), dtype="uint8")
    return keras.Model(pixels, model(preprocess_pixels(pixels, name, "own")))


def _classes() -> list[tuple[str, str]]:
    """The id and the name of each class, in the order of the scores."""
    from thaw.models.backbones.weights import TIMEOUT_SECONDS
    from thaw.runtime.tensorflow import keras

    found = [str(path) for path in mirrored(INDEX)]
    if not found:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT_SECONDS)
        try:
            found = [
                keras.utils.get_file(INDEX, INDEX_URL, cache_subdir="models", file_hash=INDEX_MD5)
            ]
        except Exception as error:  # Keras raises a plain Exception where it cannot download
            raise UserError(
                f"the names of ImageNet's classes could not be had: THAW_MIRROR: not set, or holds "
                f"no {INDEX}; Keras's download: {error}. On a machine without network: fetch that "
                f"file elsewhere, put it beside the weights and set THAW_MIRROR to their folder."
            ) from None
        finally:
            socket.setdefaulttimeout(before)
    try:
        with open(found[0], encoding="utf-8") as file:
            held = json.load(file)
        return [(held[str(n)][0], held[str(n)][1]) for n in range(len(held))]
    except (ValueError, LookupError, TypeError):
        raise UserError(
            f'{found[0]}: expected {{"0": ["n01440764", "tench"], ...}}, a line for each class.'
        ) from None


@contextlib.contextmanager
def _downloading():
    """What Keras says of downloads is no part of the answer: it is shown on a terminal only."""
    with (
        warnings.catch_warnings(action="ignore"),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(sys.stderr if sys.stderr.isatty() else nowhere),
    ):
        yield
