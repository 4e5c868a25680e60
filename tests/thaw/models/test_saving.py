import json
import re
import time
import zipfile

import numpy as np

from thaw.models.backbones.applications import preprocess_pixels
from thaw.models.resizing import resize_pictures
from thaw.models.saving import save_model
from thaw.runtime.tensorflow import keras


def model() -> keras.Model:
    """Return a model with preprocessing, on 8x8 grey images."""
    pixels = keras.Input((8, 8, 1), dtype="uint8", name="pixels")
    x = keras.layers.Flatten()(preprocess_pixels(pixels, "VGG16", "rescale"))
    return keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))


def test_saving_twice_writes_the_same_bytes(tmp_path):
    saved = model()
    save_model(saved, tmp_path / "a.keras")
    time.sleep(1.1)  # Keras stores the time of saving in seconds
    save_model(saved, tmp_path / "b.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert "date_saved" not in json.loads(archive.read("metadata.json"))
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_keras_alone_loads_it_with_the_same_predictions(tmp_path):
    saved = model()
    save_model(saved, tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", compile=False)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype="uint8")
    np.testing.assert_array_equal(
        loaded.predict(pixels, verbose=0), saved.predict(pixels, verbose=0)
    )


def test_the_configuration_contains_no_path_of_this_project(tmp_path, shipped):
    """So that it does not depend on where the code lies."""
    network = shipped("leaky_cnn_dropout", (32, 32, 3), 3)
    pictures = keras.Input((None, None, 3), dtype="uint8")
    pixels = resize_pictures(pictures, 32, "lanczos", "rgb", "crop")
    network = keras.Model(pictures, network(preprocess_pixels(pixels, "ResNet50", "own")))
    save_model(network, tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        config = archive.read("config.json")
    assert b"LeakyReLU" in config
    assert not re.search(rb"thaw|stages", config)
