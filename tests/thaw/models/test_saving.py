import json
import time
import zipfile

import numpy as np

from thaw.models.backbones.applications import preprocess_pixels
from thaw.models.saving import save_model
from thaw.runtime.tensorflow import keras


def model() -> keras.Model:
    pixels = keras.Input((8, 8, 1), dtype="uint8", name="pixels")
    x = keras.layers.Flatten()(preprocess_pixels(pixels, "VGG16", "rescale"))
    return keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))


def test_two_saves_at_different_times_are_the_same_bytes(tmp_path):
    made = model()
    save_model(made, tmp_path / "a.keras")
    time.sleep(1.1)  # Keras stores the second
    save_model(made, tmp_path / "b.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert "date_saved" not in json.loads(archive.read("metadata.json"))
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_keras_loads_it_and_it_predicts_the_same(tmp_path):
    made = model()
    save_model(made, tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", compile=False)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype="uint8")
    np.testing.assert_array_equal(
        loaded.predict(pixels, verbose=0), made.predict(pixels, verbose=0)
    )
