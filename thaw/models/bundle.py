"""A model that the pipeline trained, with all that it takes to use it on a picture."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from thaw.config.backbone import Backbone
from thaw.config.base import Section, did_you_mean, validate
from thaw.config.dataset import Image
from thaw.data.archives import DAMAGE
from thaw.errors import UserError
from thaw.storage.npz import file_digest

MODELS = Path("models")
MOST_CARD = 10_000_000
"""Bytes."""
BATCH_SIZE = 32
"""Of models that read pixels, as where they are evaluated."""

CARD = "thaw.json"
"""A packaged file's member that says what Keras does not: the classes and where they come from."""


@dataclass
class ModelBundle:
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

    def load(self, allowed: tuple[str, ...] = ()) -> Callable[[np.ndarray], np.ndarray]:
        """From uint8 pixels (n, size, size, channels) to class probabilities (n, classes).

        Args:
            allowed: as thaw.models.loading.

        Raises:
            UserError: as `model`.
        """
        model = self.model(allowed)
        if not self.packaged:
            return model.predict_on_batch
        # it resizes and turns grey itself, which leaves pixels that are so already as they are
        return lambda pixels: model.predict_on_batch(
            pixels if pixels.shape[-1] == 3 else np.repeat(pixels, 3, axis=-1)
        )

    def model(self, allowed: tuple[str, ...] = ()):
        """The same as a keras.Model, as it was packaged or assembled.

        Args:
            allowed: as thaw.models.loading.

        Raises:
            UserError: it cannot be read, or does not give a probability for each class.
        """
        from thaw.models.assembly import assemble
        from thaw.models.loading import load_keras_model

        model = load_keras_model(self.path, allowed) if self.packaged else assemble(self, allowed)
        count = model.output_shape[-1] if len(model.outputs) == 1 else None
        if count != len(self.classes) or len(model.inputs) != 1:
            raise UserError(
                f"{self.path} is no classifier of {len(self.classes)} classes: expected one input, "
                f"and one output with as many values."
            )
        return model


def find_model(given: str) -> ModelBundle:
    """The model of this name in models/, in this folder, or in this packaged file.

    Raises:
        UserError: there is none, or a part of it is not on this machine.
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
        raise UserError(
            f"there is no model {given!r}.{did_you_mean(given, known)} models/ has: {', '.join(known)}."
        )
    raise UserError(
        f"there is no model {given!r}, and none in models/. Run thaw in the repository, where "
        f"`dvc pull` or `dvc repro` brings them, or name a packaged .keras file."
    )


def _recorded(folder: Path) -> ModelBundle:
    place = folder / "record.json"
    record = read_json_object(place, lambda: place.read_bytes())
    if not record.get("classes") or not record.get("image"):
        raise UserError(
            f"{folder}/record.json does not say which classes and images the model is for: it was "
            f"trained by an older version. `dvc repro` trains it anew."
        )
    if not any((folder / file).exists() for file in ("model.keras", "model.npz")):
        raise UserError(f"{folder} holds no model: `dvc pull` or `dvc repro` brings it.")
    said = _card(record, f"{place}")
    backbone = record.get("backbone")
    if not backbone:
        return ModelBundle(folder, said.classes, said.image, None, None, said.settings)
    if not isinstance(backbone, dict) or not isinstance(backbone.get("name"), str):
        raise UserError(f"{place}: backbone = {backbone!r:.200}: expected a section with its name.")
    name = backbone.pop("name")
    chosen = validate(Backbone, backbone, f"{place}: backbone")
    weights = folder.resolve().parent.parent / "data" / "weights" / f"{name}.npz"
    if "/" in name or not weights.exists():
        raise UserError(
            f"{folder} reads what the backbone {name!r} makes of a picture, and its weights, "
            f"{weights}, are not there: `dvc pull` or `dvc repro weights@{name}` brings them."
        )
    if chosen.digest not in (None, file_digest(weights)):
        raise UserError(
            f"{weights} is not what {folder} was trained on: `dvc checkout` or `dvc repro` brings "
            f"both together."
        )
    return ModelBundle(folder, said.classes, said.image, chosen, weights, said.settings)


def _packaged(path: Path) -> ModelBundle:
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no model: expected a file that `thaw package` wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            if CARD not in archive.namelist():
                raise UserError(
                    f"{path} does not say which classes it knows: expected a model's folder or a "
                    f"file that `thaw package` wrote."
                )
            if archive.getinfo(CARD).file_size > MOST_CARD:
                raise UserError(f"{path}: its {CARD} has over {MOST_CARD:,} bytes.")
            content = archive.read(CARD)
    except (*DAMAGE, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error!r:.200}.") from None
    said = _card(read_json_object(f"{path}: {CARD}", lambda: content), f"{path}: {CARD}")
    return ModelBundle(path, said.classes, said.image, None, None, said.settings)


class Card(Section):
    """What a model says of itself."""

    classes: Annotated[list[str], Field(min_length=2)]
    image: Image
    settings: dict


def _card(held: dict, place: str) -> Card:
    values = {k: held[k] for k in Card.model_fields if k in held}
    if "image" in values:
        values["image"] = Image.from_record(values["image"], f"{place}: image")
    return validate(Card, values, place)


def read_json_object(place, read: Callable[[], bytes]) -> dict:
    """A JSON object.

    Raises:
        UserError: it is none, or cannot be read.
    """
    try:
        held = json.loads(read())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{place} cannot be read: {error}. `dvc checkout` brings it.") from None
    if not isinstance(held, dict):
        raise UserError(f"{place}: expected a JSON object. `dvc checkout` brings it.")
    return held
