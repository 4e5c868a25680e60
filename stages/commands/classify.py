"""`thaw classify`: what pictures show, by a network that ImageNet trained, with its own top."""

import contextlib
import json
import os
import socket
import sys
import warnings

import numpy as np

from stages.command import Refusal
from stages.commands import pictures
from stages.commands.answers import answers, columns, unreadable, writing
from stages.params.base import nearest
from stages.params.dataset import Image
from stages.sources.mirror import mirrored

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
        Refusal: there is no such path or network, or no source has its weights or the classes.
    """
    files = pictures.find(given)
    mirrored(".h5")  # a THAW_MIRROR that is nowhere is refused before TensorFlow starts
    with _downloading():
        name = _application(backbone)
        network = _network(name)
        classes = _classes()
    size = network.input_shape[1]
    if network.output_shape[-1] != len(classes):
        raise Refusal(
            f"{INDEX} has {len(classes):,} classes and {name} {network.output_shape[-1]:,}."
        )
    widths = [min(60, max(map(len, files))), 9, max(len(label) for _, label in classes), 0]
    headings = ["file", "id", "class", "score"]
    line = columns(headings, widths)
    bad = 0
    image = Image(size=size, resampling=RESAMPLING, colour="rgb")
    with writing(None) as write:
        write("" if as_json else line(*headings))
        for some in answers(network.predict_on_batch, files, image, BATCH_SIZE):
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
    return unreadable(bad, len(files))


def _application(given: str) -> str:
    """The class name of a network of keras.applications, however its name is written."""
    from stages.engine import keras

    def plain(text: str) -> str:
        return text.lower().replace("_", "").replace("-", "")

    known = {plain(n): n for n in dir(keras.applications) if n[0].isupper()}
    if plain(given) not in known:
        raise Refusal(
            f"--backbone {given}: no network of keras.applications."
            f"{nearest(plain(given), known)} There are: {', '.join(known.values())}."
        )
    return known[plain(given)]


def _network(name: str):
    """From uint8 pixels (batch, size, size, 3) to the scores of ImageNet's classes."""
    from stages.engine import keras
    from stages.networks.backbone import prepared, put
    from stages.sources.weights import imagenet

    try:
        held = imagenet(name, None, top=True)
    except Refusal as error:
        first, *sources, advice = (part.strip() for part in str(error).splitlines())
        raise Refusal(f"{first} {'; '.join(sources)}. {advice}") from None
    keras.utils.clear_session()  # its layers without a name are numbered from 0, as in `held`
    model = getattr(keras.applications, name)(weights=None)
    put(held, model)
    size = model.input_shape[1] or 224  # MobileNetV3 takes any, and was trained at this
    pixels = keras.Input((size, size, 3), dtype="uint8")
    return keras.Model(pixels, model(prepared(pixels, name, "own")))


def _classes() -> list[tuple[str, str]]:
    """The id and the name of each class, in the order of the scores."""
    from stages.engine import keras
    from stages.sources.weights import SECONDS

    found = [str(path) for path in mirrored(INDEX)]
    if not found:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(SECONDS)
        try:
            found = [
                keras.utils.get_file(INDEX, INDEX_URL, cache_subdir="models", file_hash=INDEX_MD5)
            ]
        except Exception as error:  # Keras raises a plain Exception where it cannot download
            raise Refusal(
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
        raise Refusal(
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
