"""The public API: load a trained model and predict, extract cached features, read results.

Its names are those of `thaw.__all__`. They change only in a release that CHANGELOG.md lists under
"Changed" or "Removed", after at least one release in which the old form warns. Everything else in
this package may change in any release.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import PIL.Image

from thaw.config.backbone import Backbone
from thaw.config.base import load_section, read_params
from thaw.config.dataset import Image
from thaw.data.decoding import decode, pixel_sha256
from thaw.data.formats import BadImage
from thaw.errors import UserError
from thaw.evaluation.predictions import read_predictions as read_prediction_table
from thaw.models.bundle import ModelBundle, model_or_best, read_json_object
from thaw.storage.files import atomic_write
from thaw.storage.npz import save_npz
from thaw.storage.store import store_root

ImageLike: TypeAlias = str | Path | np.ndarray | PIL.Image.Image


class Model:
    """A trained or packaged model, ready to predict. `load_model` makes it.

    Attributes:
        name: of the folder in models/, or of the packaged file.
        classes: the labels in the order of their probabilities.
    """

    def __init__(self, bundle: ModelBundle, predict: Callable[[np.ndarray], np.ndarray]) -> None:
        self._bundle, self._predict = bundle, predict
        self.name = bundle.name
        self.classes = bundle.classes

    def predict(self, images: ImageLike | Iterable[ImageLike]) -> pd.DataFrame:
        """Return the class and the probabilities of each image.

        Args:
            images: paths, PIL images, or arrays (height, width, 3), (height, width, 1) or (height,
                width), uint8 or uint16; one of them or several.

        Returns:
            A row for each image, with columns `image` (the path, or the position), `class`,
            `probability` (of that class), and `probability of C` for each class C, float64.

        Raises:
            UserError: an image cannot be read.

        Example:
            >>> import thaw
            >>> model = thaw.load_model("cells.keras")
            >>> model.classes
            ['functional', 'defective']
            >>> table = model.predict(["cell.png"])
            >>> table.columns.tolist()[:3]
            ['image', 'class', 'probability']
            >>> table["class"].tolist()
            ['defective']
        """
        several = _several(images)
        pixels = _decoded(several, self._bundle.image)
        size = self._bundle.batch_size
        batches = [self._predict(pixels[n : n + size]) for n in range(0, len(pixels), size)]
        columns = [f"probability of {name}" for name in self.classes]
        probabilities: Any = np.concatenate(batches).astype("float64") if batches else []
        table = pd.DataFrame(probabilities, columns=columns)
        best = table.to_numpy().argmax(axis=1) if batches else []
        table.insert(0, "image", [_label(image, n) for n, image in enumerate(several)])
        table.insert(1, "class", [self.classes[n] for n in best])
        table.insert(2, "probability", [row[n] for row, n in zip(probabilities, best, strict=True)])
        return table


def load_model(model: str | Path | None = None, allow: Sequence[str] = ()) -> Model:
    """Return a trained model by its name in models/, its folder, or its packaged file.

    Args:
        model: as `gap256`, `models/gap256` or `cells.keras`. Default: the model that
            results/best.json names, which is printed to the standard error.
        allow: classes besides Keras's own that it may contain, as MODULE:CLASS. Nothing else in the
            file is executed.

    Raises:
        UserError: there is no such model, or it cannot be read.

    Example:
        >>> import thaw
        >>> thaw.load_model("cells.keras").name
        'cells'
    """
    bundle = model_or_best(None if model is None else str(model))
    return Model(bundle, bundle.load(tuple(allow)))


def extract_features(
    images: ImageLike | Iterable[ImageLike], backbone: str = "vgg16", size: int | None = None
) -> np.ndarray:
    """Return a backbone's feature map of each image. The store caches it by the image's content.

    Args:
        images: as for `Model.predict`.
        backbone: a name in `backbones` of params.yaml, whose weights stage weights@NAME wrote; or a
            network of keras.applications such as VGG16, with its ImageNet weights.
        size: height and width that images are resized to, pixels. Default: `dataset.image.size`
            in a project, else 224.

    Returns:
        (n, height, width, channels), float32, or float16 if the backbone computes in bfloat16.

    Raises:
        UserError: an image cannot be read, or no source has the backbone's weights.

    Example:
        >>> import thaw
        >>> thaw.extract_features(["cell.png"], backbone="tiny").shape
        (1, 1, 1, 512)
    """
    from thaw.models.backbones.frozen import FrozenBackbone

    several = _several(images)
    section, weights, image = _backbone(backbone)
    if size is not None:
        image = image.model_copy(update={"size": size})
    pixels = _decoded(several, image)
    keys = [pixel_sha256(each) for each in pixels]
    frozen = FrozenBackbone(section, weights, pixels.shape[1:], thaw_from=None)
    store = frozen.store()
    frozen.fill(store, keys, dict(zip(keys, pixels, strict=True)).__getitem__, "features")
    return np.stack([store[key] for key in keys])


def read_metrics(folder: str | Path = ".") -> pd.DataFrame:
    """Return the test metrics of every model of a project, a row for each, by name.

    Raises:
        UserError: the project has no results.

    Example:
        >>> import thaw
        >>> float(thaw.read_metrics().loc["gap256", "accuracy"])
        0.9
    """
    files = sorted(Path(folder, "results", "metrics").glob("*.json"))
    if not files:
        raise UserError(f"{folder} has no results/metrics. `dvc repro` or `dvc pull` writes them.")
    rows = {file.stem: read_json_object(file, file.read_bytes) for file in files}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def read_predictions(model: str, folder: str | Path = ".") -> pd.DataFrame:
    """Return a model's class probabilities of the test images.

    Args:
        model: its name in results/predictions/.
        folder: of the project.

    Returns:
        A row for each test image by `pixel_sha256`, a column for each class, float64.

    Raises:
        UserError: there are no predictions of that model.

    Example:
        >>> import thaw
        >>> thaw.read_predictions("gap256").columns.tolist()
        ['functional', 'defective']
    """
    place = Path(folder, "results", "predictions", model)
    if not (place / "predictions.csv").exists():
        raise UserError(f"{place} has no predictions.csv. `dvc repro evaluate@{model}` writes it.")
    keys, classes, probabilities = read_prediction_table(place)
    return pd.DataFrame(probabilities, pd.Index(keys, name="pixel_sha256"), classes)


def _several(images: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    if isinstance(images, str | Path | PIL.Image.Image):
        return [images]
    return [images] if isinstance(images, np.ndarray) and images.ndim < 4 else list(images)


def _label(image: ImageLike, position: int) -> str | int:
    return str(image) if isinstance(image, str | Path) else position


def _decoded(images: list[ImageLike], image: Image) -> np.ndarray:
    """Return pixels (n, height, width, channels), uint8, decoded as the pipeline does."""
    decoded = []
    for position, each in enumerate(images):
        try:
            decoded.append(decode(_content(each), image))
        except (BadImage, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"image {_label(each, position)} cannot be read: {reason}.") from None
    return np.stack(decoded) if decoded else np.zeros((0, *image.shape), "uint8")


def _content(image: ImageLike) -> bytes:
    """Return an image as the bytes of a file."""
    if isinstance(image, str | Path):
        return Path(image).read_bytes()
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(image.squeeze(-1) if image.shape[-1:] == (1,) else image)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _backbone(name: str) -> tuple[Backbone, Path, Image]:
    """Return a backbone's parameters, its weights and how it reads images."""
    if Path("params.yaml").exists() and name in (read_params("backbones") or {}):
        weights = Path("data", "weights", f"{name}.npz")
        if not weights.exists():
            raise UserError(f"{weights} is missing. `dvc repro weights@{name}` writes it.")
        image = load_section(Image, "dataset", "image")
        return load_section(Backbone, "backbones", name), weights, image
    from thaw.models.backbones.weights import imagenet_weights

    weights = store_root() / "weights" / f"{name}.npz"
    if not weights.exists():
        with atomic_write(weights, shared=True) as part:
            save_npz(part, imagenet_weights(name, None))
    section = Backbone(
        application=name,
        weights="imagenet",
        digest=None,
        preprocessing="own",
        precision="float32",
        batch_size=32,
    )
    return section, weights, Image(size=224, resampling="bicubic", colour="rgb")
