"""A model that the pipeline trained, with all that it takes to use it on a picture."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.command import Refusal
from stages.networks.digest import digest_of
from stages.params.backbone import Backbone
from stages.params.base import check, nearest
from stages.params.dataset import Image

MODELS = Path("models")
BATCH_SIZE = 32
"""Of models that read pixels, as where they are evaluated."""

CARD = "thaw.json"
"""A packaged file's member that says what Keras does not: the classes and where they come from."""


@dataclass
class Trained:
    """A model, found and not yet loaded.

    Attributes:
        path: its folder, or the packaged file.
        classes: the labels in the order of their numbers.
        image: how a file becomes pixels.
        backbone: what makes the features that it reads; none: it reads pixels.
        weights: the backbone's.
        settings: the parameters it was trained with.
    """

    path: Path
    classes: list[str]
    image: Image
    backbone: Backbone | None
    weights: Path | None
    settings: dict

    @property
    def packaged(self) -> bool:
        return self.path.is_file()

    @property
    def batch_size(self) -> int:
        return self.backbone.batch_size if self.backbone else BATCH_SIZE

    def load(self) -> Callable[[np.ndarray], np.ndarray]:
        """From uint8 pixels (n, size, size, channels) to class probabilities (n, classes)."""
        from stages.commands.assemble import assembled, stored

        if not self.packaged:
            return assembled(self).predict_on_batch
        model = stored(self.path)
        # it resizes and turns grey itself, which leaves pixels that are so already as they are
        return lambda pixels: model.predict_on_batch(
            pixels if pixels.shape[-1] == 3 else np.repeat(pixels, 3, axis=-1)
        )


def find(given: str) -> Trained:
    """The model of this name in models/, in this folder, or in this packaged file.

    Raises:
        Refusal: there is none, or a part of it is not on this machine.
    """
    path = Path(given)
    if path.is_file() and path.parent.joinpath("record.json").exists():
        path = path.parent
    if path.is_file():
        return _packaged(path)
    for folder in (path, MODELS / given):
        if (folder / "record.json").is_file():
            return _recorded(folder)
    known = sorted(record.parent.name for record in MODELS.glob("*/record.json"))
    if known:
        raise Refusal(
            f"there is no model {given!r}.{nearest(given, known)} models/ has: {', '.join(known)}."
        )
    raise Refusal(
        f"there is no model {given!r}, and none in models/. Run thaw in the repository, where "
        f"`dvc pull` or `dvc repro` brings them, or name a packaged .keras file."
    )


def _recorded(folder: Path) -> Trained:
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    if not record.get("classes") or not record.get("image"):
        raise Refusal(
            f"{folder}/record.json does not say which classes and images the model is for: it was "
            f"trained by an older version. `dvc repro` trains it anew."
        )
    if not any((folder / file).exists() for file in ("model.keras", "model.npz")):
        raise Refusal(f"{folder} holds no model: `dvc pull` or `dvc repro` brings it.")
    backbone = record["backbone"]
    name = backbone and backbone.pop("name")
    weights = folder.resolve().parents[1] / "data" / "weights" / f"{name}.npz"
    if name and not weights.exists():
        raise Refusal(
            f"{folder} reads what the backbone {name} makes of a picture, and the weights of that, "
            f"{weights}, are not there: `dvc pull` or `dvc repro weights@{name}` brings them."
        )
    if name and backbone["digest"] not in (None, digest_of(weights)):
        raise Refusal(
            f"{weights} is not what {folder} was trained on: `dvc checkout` or `dvc repro` brings "
            f"both together."
        )
    return Trained(
        folder,
        record["classes"],
        check(Image, record["image"], f"{folder}/record.json: image"),
        check(Backbone, backbone, f"{folder}/record.json: backbone") if name else None,
        weights if name else None,
        record["settings"],
    )


def _packaged(path: Path) -> Trained:
    if not zipfile.is_zipfile(path):
        raise Refusal(f"{path} is no model: expected a file that `thaw package` wrote.")
    with zipfile.ZipFile(path) as archive:
        if CARD not in archive.namelist():
            raise Refusal(
                f"{path} does not say which classes it knows: expected a model's folder or a file "
                f"that `thaw package` wrote."
            )
        card = json.loads(archive.read(CARD))
    return Trained(path, card["classes"], check(Image, card["image"], CARD), None, None, {})
