"""Fixtures: repositories after a run, with tiny models and the images to check them on."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.thaw.cli.conftest import CLASSES, SIZE, Repository, image, spread
from thaw.data.decoding import pixel_sha256
from thaw.export.export import FORMATS
from thaw.models.layers import output_layer
from thaw.models.loading import load_keras_model
from thaw.models.prediction import predict_batches
from thaw.models.saving import save_model
from thaw.runtime.tensorflow import compute_precision, keras
from thaw.storage.arrays import write_array_folder

THREE = ["a", "b", "c"]
COUNTS = {"train": 40, "validation": 24, "test": 8}


def require_extra(form: str) -> None:
    """Skip the test if the extra of a format is not installed. With THAW_EXPORTS=all, fail."""
    if missing := [module for module in FORMATS[form] if not find_spec(module)]:
        outcome = pytest.fail if os.environ.get("THAW_EXPORTS") == "all" else pytest.skip
        outcome(f"{' and '.join(missing)} not installed: make test-exports")


class Exportable(Repository):
    """A repository that also has data/split.csv and data/images.

    Attributes:
        pictures: the images of data/images, (n, SIZE, SIZE, 3).
    """

    def data(self, classes: list[str], colour: str) -> None:
        """Write images of coarse noise, with labels, in three splits."""
        random = np.random.default_rng(1)
        count = sum(COUNTS.values())
        coarse = random.integers(0, 256, (count, 5, 4, 3), dtype="uint8")
        size = (SIZE, SIZE)
        self.pictures = np.stack([np.asarray(Image.fromarray(c).resize(size)) for c in coarse])
        pixels = self.pictures
        if colour == "grey":
            pixels = pixels[..., :1]
        images = {pixel_sha256(each): each for each in pixels}
        labels = np.arange(count) % len(classes)
        table = pd.DataFrame(
            {
                "pixel_sha256": list(images),
                "label": [classes[n] for n in labels],
                "class": labels,
                "group": "",
                "confidence": "",
                "split": np.repeat(list(COUNTS), list(COUNTS.values())),
            }
        )
        (self.folder / "data").mkdir(exist_ok=True)
        table.to_csv(self.folder / "data" / "split.csv", index=False)
        write_array_folder(self.folder / "data" / "images", list(images), images.__getitem__, {})

    def averaged(self, name: str) -> None:
        """Add a network with test-time augmentation by flips, as fine-tuning saves it."""
        folder, pixels = self.record(name, image(), CLASSES, None), self.pixels(image())
        inputs = keras.Input(pixels.shape[1:], dtype="uint8", name="pixels")
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.MaxPooling2D(4)(keras.layers.Conv2D(4, 3, activation="relu")(x))
        model = keras.Model(inputs, output_layer(keras.layers.Flatten()(x), 2))
        spread(model, pixels)
        flipped = keras.ops.flip(inputs, 1)
        views = [inputs, flipped, keras.ops.flip(inputs, 2), keras.ops.flip(flipped, 2)]
        mean = keras.layers.Average(dtype="float32")([model(view) for view in views])
        save_model(keras.Model(inputs, mean), folder / "model.keras")

    def normalized(self, name: str) -> None:
        """Add a network in mixed precision with Normalization, which copies its weights."""
        folder, pixels = self.record(name, image(), CLASSES, None), self.pixels(image())
        inputs = keras.Input(pixels.shape[1:], dtype="uint8", name="pixels")
        with compute_precision("bfloat16"):
            x = keras.layers.Rescaling(1 / 255)(inputs)
            inner = keras.Input(x.shape[1:], dtype=x.dtype)  # bfloat16
            normalization = keras.layers.Normalization(mean=None, variance=None)
            y = keras.layers.Conv2D(8, 3, activation="relu")(normalization(inner))
            normalization.set_weights([np.full(3, 0.5), np.full(3, 0.05), np.zeros(())])
            normalization.finalize_state()
            x = keras.Model(inner, y)(x)
            x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(inputs, output_layer(x, 2))
        spread(model, pixels)
        save_model(model, folder / "model.keras")
        self.expected[name] = predict_batches(load_keras_model(folder / "model.keras"), pixels, 32)


@pytest.fixture(scope="session")
def colour(tmp_path_factory, store) -> Exportable:
    """Return a repository with two classes in colour.

    Its models are `cnn` and `lanczos` on pixels, `half` on features in bfloat16, `logistic` on
    features, `normalized` in mixed precision, and `averaged` with test-time augmentation.
    """
    repository = Exportable(tmp_path_factory.mktemp("colour"))
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    repository.data(CLASSES, "rgb")
    repository.network("cnn", CLASSES, image("bicubic", fit="crop"))
    repository.network("lanczos", CLASSES, image("lanczos"))
    repository.dense("half", CLASSES, "bfloat16", image())
    repository.logistic("logistic", CLASSES, image(), "average_max")
    repository.normalized("normalized")
    repository.averaged("averaged")
    return repository


@pytest.fixture(scope="session")
def grey(tmp_path_factory, store) -> Exportable:
    """Return a repository with three classes in grey and the model `cnn` on pixels."""
    repository = Exportable(tmp_path_factory.mktemp("grey"))
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    repository.data(THREE, "grey")
    repository.network("cnn", THREE, image("bilinear", "grey", "pad"))
    return repository


@pytest.fixture
def inside(colour, monkeypatch) -> Exportable:
    """Return the repository in colour, as the current folder."""
    monkeypatch.chdir(colour.folder)
    return colour


@pytest.fixture
def within_grey(grey, monkeypatch) -> Exportable:
    """Return the grey repository, as the current folder."""
    monkeypatch.chdir(grey.folder)
    return grey


def agreement(folder: Path) -> dict:
    return json.loads((folder / "agreement.json").read_text())
