import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from thaw.errors import UserError
from thaw.export.portable import portable_config, write_portable
from thaw.models.backbones.applications import build_application, preprocess_pixels
from thaw.models.resizing import resize_pictures
from thaw.models.saving import save_model
from thaw.runtime.tensorflow import keras

# arguments that Keras 3.6 accepts, of the classes that models of Thaw have. `make test-packages`
# compares the table with Keras 3.6 itself.
ARGUMENTS = Path(__file__).with_name("keras_3_6.json")
NETWORKS = sorted(p.stem for p in Path(__file__).parents[3].joinpath("conf/network").iterdir())


def objects(config) -> Iterator[tuple[str, dict]]:
    """Yield each layer and operation of a configuration with its arguments."""
    if isinstance(config, dict):
        module = config.get("module") or ""
        if module == "keras.layers" or module.startswith(("keras.src.ops.", "keras.src.models.")):
            yield f"{module}.{config['class_name']}", config["config"]
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from objects(value)


def portable(model: keras.Model, folder: Path) -> dict:
    """Return the configuration of a portable copy of the model."""
    save_model(model, folder / "saved.keras")
    write_portable(folder / "saved.keras", folder / "portable.keras", {"thaw.json": "{}"})
    with zipfile.ZipFile(folder / "portable.keras") as archive:
        assert json.loads(archive.read("metadata.json"))["loads_with"] == "keras>=3.6"
        return json.loads(archive.read("config.json"))


def check(config: dict) -> None:
    known = json.loads(ARGUMENTS.read_text())
    for name, arguments in objects(config):
        if name.startswith("keras.src.models."):
            continue
        assert name in known, f"{name}: add it to {ARGUMENTS.name}, see tests/packages/arguments.py"
        assert arguments.keys() <= set(known[name]), name


@pytest.mark.parametrize("application", ["VGG16", "ResNet50", "EfficientNetB0", "MobileNetV2"])
def test_backbones_have_only_arguments_that_keras_3_6_accepts(application, tmp_path):
    pictures = keras.Input((None, None, 3), dtype="uint8")
    pixels = resize_pictures(pictures, 32, "lanczos", "grey", "pad")
    pixels = preprocess_pixels(pixels, application, "own")
    model = keras.Model(pictures, build_application(application, 32)(pixels))
    check(portable(model, tmp_path))


@pytest.mark.parametrize("option", NETWORKS)
def test_networks_have_only_arguments_that_keras_3_6_accepts(option, shipped, tmp_path):
    check(portable(shipped(option, (32, 32, 3), 3), tmp_path))


def test_its_predictions_stay_the_same(tmp_path, shipped):
    model = shipped("regularized_resnet", (32, 32, 3), 3)
    portable(model, tmp_path)
    loaded = keras.saving.load_model(tmp_path / "portable.keras")
    pixels = keras.random.uniform((4, 32, 32, 3), maxval=255, dtype="float32")
    difference = keras.ops.max(keras.ops.abs(loaded(pixels) - model(pixels)))
    assert float(difference) < 1e-6


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (keras.layers.BatchNormalization(renorm=True, name="bn"), "'bn' has renorm = True, which"),
        (keras.layers.Resizing(4, 4, antialias=True), "has antialias = True, which Keras 3.6 does"),
    ],
)
def test_options_that_keras_3_6_lacks_are_refused(layer, message):
    with pytest.raises(UserError, match=message):
        portable_config(keras.saving.serialize_keras_object(layer))


def test_flips_along_a_list_of_axes_are_refused():
    """Keras 3.6 loads them and fails when it predicts."""
    pixels = keras.Input((4, 4, 3))
    model = keras.Model(pixels, keras.ops.flip(pixels, [1, 2]))
    with pytest.raises(UserError, match="flips images along a list of axes.*`dvc repro` trains it"):
        portable_config(json.loads(json.dumps(keras.saving.serialize_keras_object(model))))
