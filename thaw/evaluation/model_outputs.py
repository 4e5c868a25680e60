"""Probabilities and Grad-CAM maps of a trained model, from features or from pixels."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thaw.config.subnet import DenseHead, Logistic, trained_head
from thaw.models import gradcam, logistic
from thaw.models.bundle import read_json_object
from thaw.models.subnet import predict_subnet
from thaw.storage.arrays import ArrayFolder

PIXEL_BATCH_SIZE = 32  # images per prediction
MAPS_FROM_FEATURES = 2000  # images with a Grad-CAM map, which is cheap on features
MAPS_FROM_PIXELS = 100  # images with a Grad-CAM map: each costs as much as a prediction


class FeatureOutputs:
    """The outputs of a subnet. No TensorFlow is started.

    Args:
        name: of the model, a folder of models/.
        parameters: of the subnet.

    Attributes:
        explained: how many images get a Grad-CAM map.
    """

    explained = MAPS_FROM_FEATURES

    def __init__(self, name: str, parameters: DenseHead | Logistic) -> None:
        self.folder, self.parameters = Path("models", name), parameters
        self.features = ArrayFolder(f"data/features/{parameters.features}")

    def probabilities(self, keys: list[str]) -> np.ndarray:
        """Return the class probabilities (n, classes), float64, of images by their pixel hashes."""
        selected = self.features.select(keys)
        if isinstance(self.parameters, Logistic):
            model = logistic.load(self.folder / "model.npz")
            pooled = logistic.pooled(selected, self.parameters.pooling)
            return logistic.predict(model, pooled)
        return predict_subnet(self.parameters, self.folder / "model.keras", selected)

    def maps(self, keys: list[str], classes: np.ndarray) -> np.ndarray:
        """Return Grad-CAM maps (n, height, width) of a class (n,) for each image."""
        selected = self.features.select(keys)
        if isinstance(self.parameters, Logistic):
            model = logistic.load(self.folder / "model.npz")
            return gradcam.of_logistic(model, selected, classes)
        path = self.folder / "model.keras"
        return gradcam.of_subnet(self.parameters, path, selected, classes)


@dataclass
class PixelOutputs:
    """The outputs of a model that reads pixels, which is loaded once.

    Args:
        name: of the model, a folder of models/.

    Attributes:
        explained: how many images get a Grad-CAM map.
    """

    name: str
    explained: int = MAPS_FROM_PIXELS

    @functools.cached_property
    def images(self) -> ArrayFolder:
        """The decoded images."""
        return ArrayFolder("data/images")

    @functools.cached_property
    def model(self) -> Any:
        """The keras.Model."""
        from thaw.models.loading import load_keras_model

        return load_keras_model(Path("models", self.name, "model.keras"))

    def probabilities(self, keys: list[str]) -> np.ndarray:
        """Return the class probabilities (n, classes), float64, of images by their pixel hashes."""
        from thaw.models.prediction import predict_batches

        return predict_batches(self.model, self.images.select(keys), PIXEL_BATCH_SIZE)

    def maps(self, keys: list[str], classes: np.ndarray) -> np.ndarray | None:
        """Return Grad-CAM maps (n, height, width) of a class (n,) for each image, or None if the
        network has no feature map.
        """
        return gradcam.GradCam(self.model)(self.images.select(keys), classes)


def model_outputs(name: str) -> FeatureOutputs | PixelOutputs:
    """Return the outputs of models/NAME, from features if its record names a backbone.

    Raises:
        UserError: the record cannot be read.
    """
    place = Path("models", name, "record.json")
    record = read_json_object(place, place.read_bytes)
    if record.get("backbone") is None:
        return PixelOutputs(name)
    return FeatureOutputs(name, trained_head(record["settings"], str(place)))
