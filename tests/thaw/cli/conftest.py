"""A repository after a run, with real files: random weights, and no long training."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.fixtures.networks import RANDOM_VGG16, narrow_vgg16
from thaw.config.backbone import Backbone
from thaw.config.dataset import Image
from thaw.config.finetuning import Finetune
from thaw.config.training import Augmentation
from thaw.data.decoding import decode
from thaw.models import logistic
from thaw.models.backbones.applications import build_application, named_tensors
from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.layers import output_layer
from thaw.models.loading import load_keras_model
from thaw.models.prediction import predict_batches
from thaw.models.saving import save_model
from thaw.runtime.tensorflow import keras
from thaw.training.finetuning import finished_model
from thaw.training.record import Record

SIZE = 32
APPLICATIONS = {"vgg16": "VGG16", "lite0": "EfficientNetLite0", "mobilenet": "MobileNetV2"}
CLASSES = ["cat", "dog"]
MODELS = [
    "gap",
    "gap_half",
    "gap_grey",
    "logistic",
    "logistic_three",
    "cnn",
    "cnn_grey",
    "finetuned",
]


def image(resampling: str = "bicubic", colour: str = "rgb", fit: str = "stretch") -> dict:
    return {"size": SIZE, "resampling": resampling, "colour": colour, "fit": fit}


WIDE = {"size": [32, 48]}


class Repository:
    """A folder with data/weights/, models/ and images in photos/.

    Attributes:
        expected: for each model, the probabilities of the photos by the pipeline's code.
    """

    def __init__(self, folder: Path):
        self.folder, self.expected = folder, {}
        self.photos = sorted(str(p) for p in draw_photos(folder / "photos"))

    def pixels(self, image: dict) -> np.ndarray:
        return np.stack([decode(Path(photo).read_bytes(), Image(**image)) for photo in self.photos])

    def record(self, name: str, image: dict, classes: list[str], backbone: dict | None) -> Path:
        folder = self.folder / "models" / name
        folder.mkdir(parents=True)
        record = Record(1, 1, {"seed": 0}, 1, classes=classes, image=image, backbone=backbone)
        (folder / "record.json").write_text(record.json())
        return folder

    def features(self, name: str, precision: str, image: dict) -> tuple[dict, np.ndarray]:
        """Return a backbone's record and its features of the photos, as stage features does."""
        section = backbone_section(name) | {"precision": precision}
        pixels = self.pixels(image)
        frozen = FrozenBackbone(Backbone(**section), self.weights(name), pixels.shape[1:], None)
        rows = [frozen.apply(pixels[n : n + 4]) for n in range(0, len(pixels), 4)]
        return {"name": name, **section}, np.concatenate(rows)

    def weights(self, backbone: str) -> Path:
        """Return the file of a backbone's weights, random ones."""
        path = self.folder / "data" / "weights" / f"{backbone}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            tensors = named_tensors(build_application(APPLICATIONS[backbone], SIZE))
            for name in tensors:
                if name.endswith("moving_variance"):
                    tensors[name] *= 0.05  # else the features of all photos are nearly 0
            np.savez(path, **tensors)
        return path

    def dense(
        self, name: str, classes: list[str], precision: str, image: dict, backbone: str = "vgg16"
    ) -> None:
        """Add a subnet on averaged features, whose predictions differ between photos."""
        record, features = self.features(backbone, precision, image)
        folder = self.record(name, image, classes, record)
        inputs = keras.Input(features.shape[1:])
        x = keras.layers.GlobalAveragePooling2D()(inputs)
        x = keras.layers.Dense(16, activation="relu")(x)
        model = keras.Model(inputs, output_layer(x, len(classes)))
        spread(model, features)
        save_model(model, folder / "model.keras")
        self.expected[name] = predict_batches(
            load_keras_model(folder / "model.keras"), features, 256
        )

    def logistic(
        self, name: str, classes: list[str], image: dict, pooling: str, backbone: str = "vgg16"
    ) -> None:
        record, features = self.features(backbone, "float32", image)
        folder = self.record(name, image, classes, record)
        pooled = logistic.pooled(features, pooling)
        labels = np.arange(len(pooled)) % len(classes)
        fitted = logistic.fit(pooled, labels, np.ones(len(pooled)), 0.01, 1000)
        logistic.save(fitted, folder / "model.npz")
        self.expected[name] = logistic.predict(fitted, pooled)

    def network(self, name: str, classes: list[str], image: dict) -> None:
        """Add a small CNN on pixels."""
        shape = self.pixels(image).shape[1:]
        inputs = keras.Input(shape, dtype="uint8", name="pixels")
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.Conv2D(8, 3, activation="relu")(x)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.MaxPooling2D(2)(x))
        model = keras.Model(inputs, output_layer(x, len(classes)))
        self.trained(name, classes, image, model)

    def trained(self, name: str, classes: list[str], image: dict, model: keras.Model) -> None:
        """Add a model on pixels."""
        folder, pixels = self.record(name, image, classes, None), self.pixels(image)
        spread(model, pixels)
        save_model(model, folder / "model.keras")
        self.expected[name] = predict_batches(load_keras_model(folder / "model.keras"), pixels, 32)

    def finetuned(
        self,
        name: str,
        classes: list[str],
        image: dict,
        backbone: str = "vgg16",
        thaw_from: str = "block5_conv1",
    ) -> None:
        """Add a fine-tuned model that averages over all flips of an image."""
        pixels = self.pixels(image)
        section, shape = Backbone(**backbone_section(backbone)), pixels.shape[1:]
        frozen = FrozenBackbone(section, self.weights(backbone), shape, thaw_from)
        below = keras.Input(frozen.network.output_shape[1:])
        x = keras.layers.GlobalAveragePooling2D()(frozen.thawed(below))
        end = keras.Model(below, output_layer(x, len(classes)))
        spread(end, frozen.apply(pixels))
        parameters = Finetune.model_construct(
            test_time_augmentation=True,
            augmentation=Augmentation(horizontal_flip=True, vertical_flip=True, shear=0, zoom=0),
        )
        folder = self.record(name, image, classes, None)
        save_model(finished_model(frozen, end, parameters), folder / "model.keras")
        self.expected[name] = predict_batches(load_keras_model(folder / "model.keras"), pixels, 32)


def backbone_section(name: str) -> dict:
    return {**RANDOM_VGG16, "application": APPLICATIONS[name]}


def spread(model: keras.Model, inputs: np.ndarray) -> None:
    """Scale the output layer so that its logits have mean 0 and deviation 1 on these inputs."""
    layer = model.layers[-1]
    before = keras.Model(model.inputs, layer.input).predict(inputs, verbose=0)
    sums = before @ layer.kernel.numpy()
    kernel = layer.kernel.numpy() / np.maximum(sums.std(axis=0), 1e-6)
    layer.set_weights([kernel, -(before @ kernel).mean(axis=0)])


def draw_photos(folder: Path):
    """Write photos of several sizes and formats, one of them in a sub-folder."""
    random = np.random.default_rng(0)
    (folder / "deeper").mkdir(parents=True)
    sizes = [(40, 53), (91, 64), (20, 17), (32, 32), (64, 96), (150, 75), (33, 200)]
    names = ["a.png", "b.jpg", "c.bmp", "d.webp", "e.jpeg", "deeper/f.png", "g.jpg"]
    for name, (height, width) in zip(names, sizes, strict=True):
        coarse = random.integers(0, 256, (5, 4, 3), dtype="uint8")
        picture = Pillow.fromarray(coarse).resize((width, height), Pillow.Resampling.BICUBIC)
        if name == "a.png":
            picture = picture.convert("L")
        picture.save(folder / name)
        yield folder / name


@pytest.fixture(scope="session")
def repository(tmp_path_factory, store) -> Repository:
    """A repository whose VGG16 is narrow."""
    with narrow_vgg16():
        return complete(Repository(tmp_path_factory.mktemp("repository")))


def complete(repository: Repository) -> Repository:
    """Add MODELS to a repository."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    repository.dense("gap", CLASSES, "float32", image())
    repository.dense("gap_half", CLASSES, "bfloat16", image())
    repository.dense("gap_grey", ["a", "b", "c"], "float32", image("bilinear", "grey"))
    repository.logistic("logistic", CLASSES, image("lanczos", fit="pad"), "average_max")
    repository.logistic("logistic_three", ["a", "b", "c"], image(), "average")
    repository.network("cnn", CLASSES, image("nearest"))
    repository.network("cnn_grey", ["a", "b", "c"], image("bicubic", "grey", "crop") | WIDE)
    repository.finetuned("finetuned", CLASSES, image() | WIDE)
    return repository


@pytest.fixture
def inside(repository, narrow, monkeypatch) -> Repository:
    """Return the repository, as the current folder."""
    monkeypatch.chdir(repository.folder)
    return repository


@pytest.fixture
def environment(tmp_path_factory) -> Callable:
    """A function that installs a wheel of the library in a new environment, offline.

    The environment has the packages of this one, but not its editable library. The function
    returns the path of the environment's Python.
    """

    def install(wheel) -> str:
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        python = str(folder / "bin" / "python")
        site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
        (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
        options = ["--quiet", "--offline", "--no-deps", "--require-hashes", "--python", python]
        line = site / "requirements.txt"
        line.write_text(f"{wheel.path.resolve()} --hash=sha256:{wheel.digest}\n")
        install = [sys.executable, "-m", "uv", "pip", "install", *options]
        subprocess.run([*install, "--requirement", str(line)], check=True)
        return python

    return install


def lines(text: str) -> list[dict]:
    """Return the objects that --json writes."""
    return [json.loads(line) for line in text.splitlines()]
