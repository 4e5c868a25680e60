"""Run a trained model for `thaw serve`: probabilities, Grad-CAM maps, similar training images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.bundle import ModelBundle
from thaw.models.gradcam import GradCam, _chain
from thaw.models.layers import to_probabilities
from thaw.runtime.tensorflow import keras, tf
from thaw.serve.nearest import Match, NearestImages

# Largest difference in probability between a packaged model and its layers run one by one. Maps
# need the layers, and a model that somebody else made may connect them in another way.
TOLERANCE = 1e-3


@dataclass
class Prediction:
    """The result for one image.

    Attributes:
        probabilities: (classes,), float64.
        map: the Grad-CAM map of the predicted class, (height, width), uint8, 255 at its maximum.
            None if it was not requested or the model has no feature map.
        matches: the most similar training images. None if not requested or not available.
    """

    probabilities: np.ndarray
    map: np.ndarray | None = None
    matches: list[Match] | None = None


class Predictor:
    """A loaded model.

    Args:
        bundle: from thaw.models.bundle.find_model.
        allowed: classes that the model may have, see thaw.models.loading.
        max_batch: the largest number of images of one call.

    Attributes:
        bundle, max_batch: the arguments.
        shape: of an image, (height, width, channels).
        nearest_images: the training images to compare with.
        has_maps: whether it can compute Grad-CAM maps.

    Raises:
        UserError: the model cannot be loaded, see ModelBundle.model.
    """

    def __init__(self, bundle: ModelBundle, allowed: tuple[str, ...], max_batch: int) -> None:
        self.bundle, self.max_batch = bundle, max_batch
        self.shape = bundle.shape
        # the maps and the search for similar images need the features too
        self._outputs_features = not bundle.packaged and bundle.backbone is not None
        gradcam: SequentialGradCam | None = None
        self._run: Callable[[np.ndarray], list[np.ndarray]]
        if bundle.by_openvino:
            frozen, model = bundle.parts(allowed)
            gradcam = FeatureGradCam(sequential(_layers(model), model.input_shape[1:], "float32"))
            self._run = _in_parts(_features(frozen), traced(model))
        elif (inner := _pixels_to_output(bundle, allowed, self.shape)) is None:
            network = bundle.load(allowed)
            self._run = lambda pixels: [network(pixels)]
        elif self._outputs_features:
            backbone, *head = _layers(inner)
            features = backbone._inbound_nodes[-1].output_tensors[0]
            self._run = traced(keras.Model(inner.inputs, [inner.outputs[0], features]))
            gradcam = FeatureGradCam(sequential(head, features.shape[1:], "float32"))
        else:
            self._run = traced(keras.Model(inner.inputs, [inner.outputs[0]]))
            gradcam = _gradcam(inner, _layers(inner))
        self.has_maps = gradcam is not None and gradcam.possible
        self._gradcam = gradcam
        self.nearest_images = NearestImages.load(bundle)
        if self.nearest_images.problem is None and not self._outputs_features:
            frozen = FrozenBackbone(
                self.nearest_images.backbone, self.nearest_images.weights, self.shape, None
            )
            self._features = _features(frozen)
        for count in {1, max_batch}:  # TensorFlow prepares now, not in the first request
            self.predict([np.zeros(self.shape, "uint8")] * count, [count == 1] * count)

    def predict(self, images: list[np.ndarray], explained: list[bool]) -> list[Prediction]:
        """Return a prediction for each image. It does not depend on the other images.

        Args:
            images: n arrays (height, width, channels), uint8.
            explained: for each image, whether map and similar training images are requested.
        """
        pixels = np.stack(images)  # (n, height, width, channels)
        probabilities, *features = self._run(pixels)
        predictions = [Prediction(np.asarray(row, "float64")) for row in probabilities]
        if numbers := np.flatnonzero(explained).tolist():
            selected = features[0][numbers] if self._outputs_features else None
            self._explain([predictions[n] for n in numbers], pixels[numbers], selected)
        return predictions

    def _explain(
        self, predictions: list[Prediction], pixels: np.ndarray, features: np.ndarray | None
    ) -> None:
        if self._gradcam is not None and self.has_maps:
            inputs = pixels if features is None else features
            classes = np.array([each.probabilities.argmax() for each in predictions])
            maps: Any = self._gradcam(inputs, classes)
            for prediction, map in zip(predictions, maps, strict=True):
                prediction.map = np.rint(map / max(map.max(), 1e-30) * 255).astype("uint8")
        if self.nearest_images.problem is None:
            features = self._features(pixels) if features is None else features
            found = self.nearest_images.search(features)
            for prediction, matches in zip(predictions, found, strict=True):
                prediction.matches = matches


def traced(model: Any) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a function from pixels to the model's outputs that TensorFlow traces only once.

    Args:
        model: has one input, uint8 pixels or float32 features.

    Returns:
        A function from (n, height, width, channels), with any n, to a list of float32 arrays.
    """
    signature = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)

    def run(pixels: Any) -> list[Any]:
        outputs = tf.nest.flatten(model(pixels, training=False))
        return [tf.cast(output, "float32") for output in outputs]

    function = tf.function(run, input_signature=[signature], autograph=False)
    return lambda pixels: [output.numpy() for output in function(pixels)]


def _features(frozen: FrozenBackbone) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from pixels to features, float32, computed by the backbone's engine."""
    if frozen.backbone.engine == "openvino":
        return lambda pixels: frozen.apply(pixels).astype("float32")
    run = traced(frozen.network)
    return lambda pixels: run(pixels)[0]


def _in_parts(
    features: Callable[[np.ndarray], np.ndarray], head: Callable[[np.ndarray], list[np.ndarray]]
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a function from pixels to probabilities and features."""

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        computed = features(pixels)
        return [*head(computed), computed]

    return run


class SequentialGradCam(GradCam):
    """Grad-CAM maps of a network that reads pixels.

    Attributes:
        possible: whether the network has a feature map and ends in a dense layer.
    """

    @property
    def possible(self) -> bool:
        """Whether maps can be computed."""
        return self._split is not None and isinstance(self._layers[-1], keras.layers.Dense)


class FeatureGradCam(SequentialGradCam):
    """Grad-CAM maps of a network that reads features in place of pixels."""

    def __init__(self, model: Any) -> None:
        places = np.prod(model.input_shape[1:3])
        self._layers, self._split = _chain(model), 0 if places > 1 else None


def sequential(layers: list[Any], shape: tuple[int, ...], dtype: str) -> keras.Model:
    """Return layers as a model in which each layer reads the output of the one before."""
    inputs = keras.Input(shape, dtype=dtype)
    x = inputs
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def _layers(model: Any) -> list[Any]:
    return [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


def _pixels_to_output(bundle: ModelBundle, allowed: tuple[str, ...], shape: tuple[int, ...]) -> Any:
    """Return the model, or the part of a packaged one behind its resizing, or None if there is no
    such part.
    """
    model = bundle.model(allowed)
    if not bundle.packaged:
        return model
    for layer in model.layers:
        if isinstance(layer, keras.Model) and layer.input_shape[1:] == shape:
            return layer
    return None


def _gradcam(model: Any, layers: list[Any]) -> SequentialGradCam | None:
    """Return maps by a model's layers, or None if the layers in sequence differ from the model."""
    shape = model.input_shape[1:]
    noise = np.random.default_rng(0).integers(0, 256, (1, *shape), dtype="uint8")
    try:
        chain = sequential(layers, shape, "uint8")
        probabilities = to_probabilities(chain.predict_on_batch(noise))
    except (ValueError, TypeError, IndexError):  # the layers' shapes do not fit in sequence
        return None
    same = np.abs(probabilities - model.predict_on_batch(noise)).max() <= TOLERANCE
    return SequentialGradCam(chain) if same else None
