"""Probabilities and Grad-CAM maps of a trained model, from features or from pixels."""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thaw.config.backbone import Backbone
from thaw.config.base import validate
from thaw.config.subnet import DenseHead, Logistic, trained_head
from thaw.config.training import Augmentation
from thaw.errors import UserError
from thaw.models import gradcam, logistic
from thaw.models.bundle import read_json_object
from thaw.models.layers import to_probabilities
from thaw.models.subnet import predict_subnet
from thaw.storage.arrays import ArrayFolder
from thaw.storage.dvc import verify_outputs

PIXEL_BATCH_SIZE = 32  # images per prediction
MAPS_FROM_FEATURES = 2000  # images with a Grad-CAM map, which is cheap on features
MAPS_FROM_PIXELS = 100  # images with a Grad-CAM map: each costs as much as a prediction
COMPARED_IMAGES = 4  # on which the cached outputs are compared with the whole network


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


@dataclass
class ThawedOutputs(PixelOutputs):
    """The outputs of a fine-tuned model. The backbone's engine computes those of the frozen part,
    which the store keeps. Only the thawed part and the head run on them.

    Args:
        name: as in PixelOutputs.
        record: the content of record.json, which has the section `frozen`.
    """

    record: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def end(self) -> Any:
        """The thawed part and the head, a keras.Model."""
        return [layer for layer in self.model.layers if hasattr(layer, "layers")][-1]

    @functools.cached_property
    def views(self) -> Any:
        """The thaw.models.backbones.views.CachedViews over which the model averages.

        Raises:
            UserError: the frozen part of the model is not that of the record.
        """
        from thaw.models.backbones.frozen import FrozenBackbone
        from thaw.models.backbones.views import flipped_views, largest_difference

        place = f"models/{self.name}/record.json"
        section = dict(self.record["frozen"])
        weights = f"data/weights/{section.pop('name')}.npz"
        verify_outputs(weights)
        backbone = validate(Backbone, section, f"{place}: frozen")
        settings = self.record["settings"]
        augmentation = validate(Augmentation, settings["augmentation"], f"{place}: augmentation")
        frozen = FrozenBackbone(backbone, weights, self.images.shape, settings["thaw_from"])
        averaged = settings["test_time_augmentation"]
        views = flipped_views(frozen, self.images, augmentation, averaged)
        compared = list(self.images.keys[:COMPARED_IMAGES])
        views.fill(compared)
        expected = to_probabilities(np.asarray(self.model(self.images.select(compared)[:])))
        difference = np.abs(to_probabilities(views.averaged(self.end, compared)) - expected).max()
        allowed = largest_difference(backbone)
        print(f"cached outputs agree with model.keras within {difference:.1e} (allowed: {allowed})")
        if difference > allowed:
            raise UserError(
                f"probabilities of models/{self.name}/model.keras and of cached outputs of its "
                f"frozen part differ by {difference:.3f}, expected {allowed} at most. Fine-tune "
                f"again: dvc repro --force --single-item finetune@{self.name}"
            )
        return views

    def probabilities(self, keys: list[str]) -> np.ndarray:
        """Return the class probabilities (n, classes), float64, of images by their pixel hashes."""
        self.views.fill(keys)
        return to_probabilities(self.views.averaged(self.end, keys))

    def maps(self, keys: list[str], classes: np.ndarray) -> np.ndarray | None:
        """Return Grad-CAM maps (n, height, width) of a class (n,) for each image, or None if the
        network has no feature map.
        """
        if self.record["settings"]["thaw_from"] is None:  # the last feature map is a frozen one
            return super().maps(keys, classes)
        return gradcam.GradCam(self.end)(self.views.outputs(keys), classes)


def model_outputs(name: str) -> FeatureOutputs | PixelOutputs:
    """Return the outputs of models/NAME: from features if its record names a backbone, and from
    cached outputs of the frozen part if it names one that was cached.

    Raises:
        UserError: the record cannot be read.
    """
    place = Path("models", name, "record.json")
    record = read_json_object(place, place.read_bytes)
    if record.get("backbone") is None:
        return ThawedOutputs(name, record=record) if "frozen" in record else PixelOutputs(name)
    return FeatureOutputs(name, trained_head(record["settings"], str(place)))
