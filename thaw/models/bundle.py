"""A trained model together with its classes, preprocessing and backbone."""

import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from thaw.config.backbone import Backbone
from thaw.config.base import Section, did_you_mean, validate
from thaw.config.dataset import Image
from thaw.data.archives import DAMAGE
from thaw.errors import UserError
from thaw.models.backbones.recipe import weights_digest

MODELS = Path("models")
BEST = Path("results/best.json")  # written by stage best
BATCH_SIZE = 32  # images per pass of models that read pixels, the same as in stage evaluate
CARD = "thaw.json"  # member of a packaged file, with what Keras does not store, such as classes
CREATE_HINT = (
    "Run thaw in the repository, where `dvc pull` or `dvc repro` creates them, or give the path of "
    "a packaged .keras file."
)
MAX_CARD_BYTES = 10_000_000  # more is not from `thaw package`; protects memory


@dataclass
class ModelBundle:
    """A trained model that was found on disk and is not loaded yet.

    Attributes:
        path: the model's folder, or the packaged file.
        classes: the labels, in the order of the class numbers.
        image: how an image file becomes pixels.
        backbone: parameters of the backbone whose features the model reads, or None if it reads
            pixels.
        weights: file of the backbone's weights, or None if the model reads pixels.
        settings: the parameters that the model was trained with.
    """

    path: Path
    classes: list[str]
    image: Image
    backbone: Backbone | None
    weights: Path | None
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the model's folder, or of the packaged file without its suffix."""
        return self.path.resolve().name.removesuffix(".keras")

    @property
    def packaged(self) -> bool:
        """Whether the model is a file that `thaw package` wrote."""
        return self.path.is_file()

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image, (height, width, channels)."""
        return self.image.shape

    @property
    def by_openvino(self) -> bool:
        """Whether OpenVINO computes the features that the model reads."""
        return self.backbone is not None and self.backbone.engine == "openvino"

    @property
    def batch_size(self) -> int:
        """Images per forward pass."""
        return self.backbone.batch_size if self.backbone else BATCH_SIZE

    def load(self, allowed: tuple[str, ...] = ()) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from uint8 pixels (n, height, width, channels) to class probabilities
        (n, classes), float32.

        Args:
            allowed: as in thaw.models.loading.load_keras_model.

        Raises:
            UserError: as `model`.
        """
        if self.by_openvino:
            frozen, head = self.parts(allowed)
            return lambda pixels: head.predict_on_batch(frozen.apply(pixels).astype("float32"))
        model = self.model(allowed)
        if not self.packaged:
            return model.predict_on_batch
        # a packaged model resizes and converts RGB pictures itself, which does not change pixels
        # that are resized and grey already
        return lambda pixels: model.predict_on_batch(
            pixels if pixels.shape[-1] == 3 else np.repeat(pixels, 3, axis=-1)
        )

    def model(self, allowed: tuple[str, ...] = ()) -> Any:
        """Return a keras.Model from uint8 pixels to class probabilities (n, classes).

        It reads (n, height, width, channels), or (n, height, width, 3) if it was packaged.

        Args:
            allowed: as in thaw.models.loading.load_keras_model.

        Raises:
            UserError: the model cannot be read, or does not have one output for each class.
        """
        from thaw.models.assembly import assemble
        from thaw.models.loading import load_keras_model

        model = load_keras_model(self.path, allowed) if self.packaged else assemble(self, allowed)
        self._check_output(model)
        return model

    def parts(self, allowed: tuple[str, ...] = ()) -> tuple[Any, Any]:
        """Return the backbone and the head of a model that reads features, see
        thaw.models.assembly.assemble_parts.

        Raises:
            UserError: as `model`.
        """
        from thaw.models.assembly import assemble_parts

        frozen, head = assemble_parts(self, allowed)
        self._check_output(head)
        return frozen, head

    def _check_output(self, model: Any) -> None:
        count = model.output_shape[-1] if len(model.outputs) == 1 else None
        if count != len(self.classes) or len(model.inputs) != 1:
            raise UserError(
                f"{self.path} does not classify {len(self.classes)} classes: expected one input "
                f"and one output with {len(self.classes)} values."
            )


def find_model(name: str) -> ModelBundle:
    """Return the model of a name or path.

    Args:
        name: of a folder in models/, or path of a model's folder or of a packaged file.

    Raises:
        UserError: there is no such model, or a part of it is not on this machine.
    """
    path = Path(name)
    if path.is_file() and path.parent.joinpath("record.json").exists():
        path = path.parent
    if path.is_file():
        return _from_package(path)
    if folder := model_folder(path):
        return _from_folder(folder)
    if known := _names():
        raise UserError(
            f"there is no model {name!r}.{did_you_mean(name, known)} "
            f"models/ has: {', '.join(known)}."
        )
    raise UserError(f"there is no model {name!r}, and none in models/. {CREATE_HINT}")


def model_or_best(name: str | None) -> ModelBundle:
    """Return the model of a name or path. Without one, return the default and print why.

    Raises:
        UserError: there is no such model, or no default.
    """
    if name is not None:
        return find_model(name)
    name, why = default_model()
    print(f"thaw: model {name}: {why}", file=sys.stderr, flush=True)
    return find_model(name)


def model_folder(name: str | Path) -> Path | None:
    """Return the folder of a model by its path or its name in models/, or None if there is none."""
    folders = (Path(name), MODELS / name)
    return next((folder for folder in folders if (folder / "record.json").is_file()), None)


def default_model() -> tuple[str, str]:
    """Return the name of the model to use if none is named, and the reason.

    It is the model that results/best.json names, or the only one in models/.

    Raises:
        UserError: neither exists.
    """
    problem = f"{BEST} does not exist (`dvc repro best` writes it)"
    if BEST.exists():
        best = read_json_object(BEST, BEST.read_bytes)
        if isinstance(best.get("model"), str):
            return best["model"], str(best.get("why"))
        problem = f"{BEST} names none: {best.get('why')}"
    known = _names()
    if len(known) == 1:
        return known[0], "the only one in models/"
    if not known:
        raise UserError(f"there is no model in models/. {CREATE_HINT}")
    raise UserError(f"which model? {problem}. Name one of models/: {', '.join(known)}.")


def _names() -> list[str]:
    return sorted(record.parent.name for record in MODELS.glob("*/record.json"))


def _from_folder(folder: Path) -> ModelBundle:
    place = folder / "record.json"
    record = read_json_object(place, lambda: place.read_bytes())
    if not record.get("classes") or not record.get("image"):
        raise UserError(
            f"{place} does not contain the model's classes and image section: the model was "
            f"trained by an older version. `dvc repro` trains it again."
        )
    if not any((folder / file).exists() for file in ("model.keras", "model.npz")):
        raise UserError(f"{folder} contains no model: `dvc pull` or `dvc repro` restores it.")
    card = _validate_card(record, f"{place}")
    backbone = record.get("backbone")
    if not backbone:
        return ModelBundle(folder, card.classes, card.image, None, None, card.settings)
    if not isinstance(backbone, dict) or not isinstance(backbone.get("name"), str):
        raise UserError(f"{place}: backbone = {backbone!r:.200}: expected a section with its name.")
    name = backbone.pop("name")
    parameters = validate(Backbone, backbone, f"{place}: backbone")
    weights = folder.resolve().parent.parent / "data" / "weights" / f"{name}.npz"
    if "/" in name or not weights.exists():
        raise UserError(
            f"{folder} needs the backbone {name!r}, whose weights, {weights}, are missing: "
            f"`dvc pull` or `dvc repro weights@{name}` restores them."
        )
    if parameters.digest not in (None, weights_digest(weights)):
        raise UserError(
            f"{weights} differs from the weights that {folder} was trained with: `dvc checkout` or "
            f"`dvc repro` restores both."
        )
    return ModelBundle(folder, card.classes, card.image, parameters, weights, card.settings)


def _from_package(path: Path) -> ModelBundle:
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a model: expected a file that `thaw package` wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            if CARD not in archive.namelist():
                raise UserError(
                    f"{path} does not list its classes: expected a model's folder or a file that "
                    f"`thaw package` wrote."
                )
            if archive.getinfo(CARD).file_size > MAX_CARD_BYTES:
                raise UserError(f"{path}: its {CARD} has over {MAX_CARD_BYTES:,} bytes.")
            content = archive.read(CARD)
    except (*DAMAGE, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error!r:.200}.") from None
    card = _validate_card(read_json_object(f"{path}: {CARD}", lambda: content), f"{path}: {CARD}")
    return ModelBundle(path, card.classes, card.image, None, None, card.settings)


class Card(Section):
    """The part of record.json and thaw.json that is needed to use a model."""

    classes: Annotated[list[str], Field(min_length=2)]
    image: Image
    settings: dict[str, Any]


def _validate_card(record: dict[str, Any], place: str) -> Card:
    values = {k: record[k] for k in Card.model_fields if k in record}
    if "image" in values:
        values["image"] = Image.from_record(values["image"], f"{place}: image")
    return validate(Card, values, place)


def read_json_object(place: str | Path, read: Callable[[], bytes]) -> dict[str, Any]:
    """Return a JSON object.

    Args:
        place: where it is, for messages.
        read: function that returns its bytes.

    Raises:
        UserError: it cannot be read, or is not a JSON object.
    """
    try:
        values = json.loads(read())
    except PermissionError:  # its message is better
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{place} cannot be read: {error}. `dvc checkout` restores it.") from None
    if not isinstance(values, dict):
        raise UserError(f"{place}: expected a JSON object. `dvc checkout` restores it.")
    return values
