"""Estimate how long each stage takes on this machine.

A stage that has run here takes about as long as the last time. For others, the time of a backbone
for an image is measured (thaw.cli.speed) and multiplied by the number of images. The rest takes a
constant time for each stage and image. All of them are rough, so every message says "about".
"""

import functools
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from thaw.cli.speed import backbone_seconds
from thaw.config.training import Augmentation
from thaw.data.archives import is_archive
from thaw.data.registry import source_module, validate_source
from thaw.errors import UserError
from thaw.report.run_results import DRAWN, read_runs, read_table
from thaw.storage.dvc import user_path

PUBLISHED = {  # number of images in data sets that are downloaded
    "solar_cells": 2_624,
    "cats_dogs": 3_000,
    "fashion_mnist": 70_000,
    "cifar10": 60_000,
}
# Seconds of a stage, and for each image (of training data where it trains). Measured with 2,624
# images of solar cells and 3,000 of cats and dogs at 224 pixels on two cores of an AMD EPYC.
CONSTANT = {
    "conf": (1, 0),
    "scan": (1, 0.0002),
    "download": (2, 0.0005),
    "preprocess": (2, 0.003),
    "split": (2, 0),
    "weights": (6, 0),
    "search": (10, 0.15),
    "train_subnet": (5, 0.011),
    "best": (1, 0),
    "audit": (4, 0.001),
}
START = 6  # seconds until a stage has started TensorFlow and built a backbone
# Fine-tuning and its evaluation, in times of the backbone for an image by its own engine. The
# layers that are trained use TensorFlow, so the ratio is higher where the features are OpenVINO's.
FROZEN = 0.9  # the layers before thaw_from
TRAINED = {"tensorflow": 0.4, "openvino": 1.6}  # an image of an epoch through the other layers
FORWARD = 1 / 3  # of the time of training, for a prediction
WHOLE = {"tensorflow": 3.0, "openvino": 6.0}  # the same through all layers (`cached: false`)
EVALUATED = {"tensorflow": 1.1, "openvino": 3.0}  # a prediction through all layers


@dataclass
class Duration:
    """How long a stage takes.

    Attributes:
        seconds: None if it cannot be estimated.
        recorded: whether it is the stage's last duration.
    """

    seconds: float | None
    recorded: bool = False

    def __str__(self) -> str:
        if self.seconds is None:
            return "not known"
        return f"about {duration(self.seconds)}" + (", as last time" if self.recorded else "")


def duration(seconds: float) -> str:
    """Return seconds as text with two digits: 3 s, 45 s, 2 min 20 s, 25 min, 3 h."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 600:
        minutes, rest = divmod(10 * round(seconds / 10), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def total(durations: Iterable[Duration]) -> str:
    """Return the sum of durations as text, with the number of those that are not known."""
    seconds = [each.seconds for each in durations]
    known = duration(sum(each for each in seconds if each is not None))
    unknown = seconds.count(None)
    if unknown:
        return f"more than {known} ({unknown} of {len(seconds)} stages not known)"
    return f"about {known}"


def estimator(
    parameters: dict[str, Any], counts: dict[str, int] | None = None
) -> Callable[[str], Duration]:
    """Return a function that estimates the duration of a stage by its name in DVC.

    Args:
        parameters: content of params.yaml.
        counts: number of images by split; None: those of the last run, or of the source.
    """
    last = {run["stage"]: run["seconds"] for run in read_runs() if run.get("exit") == 0}
    speeds = functools.cache(backbone_seconds)

    @functools.cache
    def images() -> dict[str, int] | None:
        return counts or _counts(parameters)

    def estimate(stage: str) -> Duration:
        if (name := stage.replace("@", " ")) in last:
            return Duration(last[name], recorded=True)
        try:
            return Duration(_seconds(stage, parameters, images(), speeds))
        except (UserError, KeyError, TypeError):  # stage conf reports wrong parameters
            return Duration(None)

    return estimate


def _seconds(
    stage: str,
    parameters: dict[str, Any],
    counts: dict[str, int] | None,
    speeds: Callable[[], dict[str, float]],
) -> float | None:
    """Return the seconds of a stage that has not run yet; None if they are not known."""
    if counts is None:
        return None
    kind, _, key = stage.partition("@")
    images, tested = sum(counts.values()), counts["validation"] + counts["test"]
    finetune = parameters["finetunes"].get(key)
    if kind == "train_subnet" and parameters["subnets"][key]["kind"] == "logistic":
        return CONSTANT[kind][0]
    if kind in CONSTANT:
        start, each = CONSTANT[kind]
        return start + each * (counts["train"] if kind in ("search", "train_subnet") else images)
    if kind == "features" and key in speeds():
        return START + images * speeds()[key]
    if kind == "evaluate" and key in parameters["subnets"]:
        return START + 0.002 * tested
    if finetune is None:
        return None
    backbone = parameters["subnets"][finetune["subnet"]]["features"]
    if backbone not in speeds():
        return None
    engine = parameters["backbones"][backbone].get("engine", "tensorflow")
    views = _views(finetune, parameters["dataset"]["allowed_flips"])
    averaged = views if finetune["test_time_augmentation"] else 1
    stored = int(engine == "tensorflow")  # stage features also stores outputs of the frozen part
    if kind == "evaluate" and finetune["cached"]:
        passes = FROZEN * counts["test"] * (averaged - stored)
        passes += FORWARD * TRAINED[engine] * averaged * tested
    elif kind == "evaluate":
        passes = EVALUATED[engine] * averaged * tested
    elif finetune["cached"]:
        passes = FROZEN * counts["train"] * (views - stored)
        passes += FROZEN * counts["validation"] * (averaged - stored)
        passes += TRAINED[engine] * finetune["epochs"] * counts["train"]
    else:
        passes = WHOLE[engine] * finetune["epochs"] * counts["train"]
    return START + passes * speeds()[backbone]


def _views(finetune: dict[str, Any], allowed_flips: list[str]) -> int:
    """Return the number of combinations of flips that a fine-tuning may use."""
    augmentation = Augmentation(**finetune["augmentation"])
    flips = {
        "horizontal": augmentation.horizontal_flip,
        "vertical": augmentation.vertical_flip,
    }
    return 1 << sum(flips[name] for name in allowed_flips)


def _counts(parameters: dict[str, Any]) -> dict[str, int] | None:
    """Return the number of images by split, of the last run or about as the next one draws them."""
    table, index = read_table()
    if table is not None:
        return {split: int((table["split"] == split).sum()) for split in DRAWN}
    images = len(index) if index is not None else _images(parameters["dataset"])
    return split_counts(images, parameters) if images else None


def split_counts(images: int, parameters: dict[str, Any]) -> dict[str, int]:
    """Return the number of images by split if `dataset.split` draws all of them."""
    split, most = (parameters["dataset"][key] for key in ("split", "max_train_images"))
    test = round(images * split["test"])
    validation = round((images - test) * split["validation"])
    train = min(images - test - validation, most or images)
    return {"train": train, "validation": validation, "test": test}


def _images(dataset: dict[str, Any]) -> int | None:
    """Return about how many images a dataset has, None if it is not known before the first run."""
    source = dataset["source"]
    if "path" not in source:
        return PUBLISHED.get(str(dataset["name"]))
    path = user_path(source["path"])
    try:
        if is_archive(path) and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return sum(not entry.is_dir() for entry in archive.infolist())
        if is_archive(path):
            with tarfile.open(path) as tar:
                return sum(entry.isfile() for entry in tar)
        return len(source_module(source["kind"]).files(validate_source(source)))
    except (UserError, OSError, tarfile.TarError, zipfile.BadZipFile):
        return None  # the run reports the problem
