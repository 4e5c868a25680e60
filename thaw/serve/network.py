"""A trained model as it is served: what it says of pixels, where it looked, what they are like."""

from dataclasses import dataclass

import numpy as np

from thaw.models.backbones.frozen import FrozenBackbone
from thaw.models.bundle import ModelBundle
from thaw.models.gradcam import GradCam, _straight
from thaw.models.layers import to_probabilities
from thaw.runtime.tensorflow import keras, tf
from thaw.serve.neighbours import Neighbours

TOLERANCE = 1e-3
"""By which a model's layers, one after the other, may differ from the model: they are taken apart
only where this is so, since anybody may have made it."""


@dataclass
class Answer:
    """What is said of one image.

    Attributes:
        probabilities: (classes,).
        map: where the likeliest class was seen, (height, width), uint8, 255 where most; none where
            it was not asked for or the model cannot say.
        like: number in the table of neighbours, and cosine, of each of the nearest training images.
    """

    probabilities: np.ndarray
    map: np.ndarray | None = None
    like: list[tuple[int, float]] | None = None


class Predictor:
    """A loaded model.

    Args:
        trained: as thaw.models.bundle.find_model gives it.
        allowed: as thaw.models.loading.
        most: images of a pass.

    Attributes:
        trained, most: what it was made with.
        shape: of an image, (size, size, channels).
        neighbours: the training images to compare with.
        looks: whether it can say where it looked.

    Raises:
        UserError: as Trained.model.
    """

    def __init__(self, trained: ModelBundle, allowed: tuple[str, ...], most: int):
        self.trained, self.most = trained, most
        size = trained.image.size
        self.shape = (size, size, 3 if trained.image.colour == "rgb" else 1)
        model = trained.model(allowed)
        inner = _inner(model, self.shape) if trained.packaged else model
        # what a backbone makes is wanted too: it tells where was looked, and what is alike
        self._split = not trained.packaged and trained.backbone is not None
        gradcam = None
        if inner is None:
            network = trained.load(allowed)
            self._run = lambda pixels: [network(pixels)]
        elif self._split:
            first, *above = _parts(inner)
            made = first._inbound_nodes[-1].output_tensors[0]
            self._run = traced(keras.Model(inner.inputs, [inner.outputs[0], made]))
            gradcam = OfFeatures(chained(above, made.shape[1:], "float32"))
        else:
            self._run = traced(keras.Model(inner.inputs, [inner.outputs[0]]))
            gradcam = _looking(inner, _parts(inner))
        self.looks = gradcam is not None and gradcam.possible
        self._gradcam = gradcam
        self.neighbours = Neighbours.find(trained)
        if self.neighbours.problem is None and not self._split:
            frozen = FrozenBackbone(
                self.neighbours.backbone, self.neighbours.weights, self.shape, None
            )
            self._features = traced(keras.Model(frozen.network.inputs, [frozen.network.output]))
        for count in {1, most}:  # so that no request waits for TensorFlow
            self.answers([np.zeros(self.shape, "uint8")] * count, [count == 1] * count)

    def answers(self, pixels: list[np.ndarray], explained: list[bool]) -> list[Answer]:
        """An answer for each image (size, size, channels), uint8, whatever stands beside it.

        Args:
            explained: of which images map and nearest training images are asked for.
        """
        together = np.stack(pixels)  # (n, size, size, channels)
        probabilities, *made = self._run(together)
        answers = [Answer(np.asarray(p, "float64")) for p in probabilities]
        if wanted := np.flatnonzero(explained).tolist():
            features = made[0][wanted] if self._split else None
            self._explain([answers[n] for n in wanted], together[wanted], features)
        return answers

    def _explain(self, answers: list[Answer], pixels: np.ndarray, features) -> None:
        if self.looks:
            given = pixels if features is None else features
            classes = np.array([answer.probabilities.argmax() for answer in answers])
            for answer, map in zip(answers, self._gradcam(given, classes), strict=True):
                answer.map = np.rint(map / max(map.max(), 1e-30) * 255).astype("uint8")
        if self.neighbours.problem is None:
            (own,) = self._features(pixels) if features is None else (features,)
            for answer, like in zip(answers, self.neighbours.nearest(own), strict=True):
                answer.like = like


def traced(model):
    """A network as a function of uint8 pixels, however many, that TensorFlow prepares once: from
    (n, height, width, channels) to its outputs as float32."""
    pixels = tf.TensorSpec(model.input_shape, "uint8")

    @tf.function(input_signature=[pixels], autograph=False)
    def run(pixels):
        outputs = tf.nest.flatten(model(pixels, training=False))
        return [tf.cast(output, "float32") for output in outputs]

    return lambda pixels: [output.numpy() for output in run(pixels)]


class Looking(GradCam):
    """Maps of a network that reads pixels.

    Attributes:
        possible: whether it has a feature map, and ends as GradCam looks for it.
    """

    @property
    def possible(self) -> bool:
        return self._split is not None and isinstance(self._layers[-1], keras.layers.Dense)


class OfFeatures(Looking):
    """Maps of a network that reads features: calling it takes them in place of pixels."""

    def __init__(self, model):
        places = np.prod(model.input_shape[1:3])
        self._layers, self._split = _straight(model), 0 if places > 1 else None


def chained(parts: list, shape: tuple, dtype: str) -> keras.Model:
    """Layers as a network, each reading what the one before gives."""
    inputs = keras.Input(shape, dtype=dtype)
    x = inputs
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def _parts(model) -> list:
    return [part for part in model.layers if not isinstance(part, keras.layers.InputLayer)]


def _inner(model, shape: tuple):
    """The part of a packaged model that reads pixels of its own size; none if it has no such."""
    for layer in model.layers:
        if isinstance(layer, keras.Model) and layer.input_shape[1:] == shape:
            return layer
    return None


def _looking(model, parts: list) -> Looking | None:
    """Maps by the parts of a model, if those are all that it does but for making probabilities."""
    shape = model.input_shape[1:]
    random = np.random.default_rng(0).integers(0, 256, (1, *shape), dtype="uint8")
    try:
        chain = chained(parts, shape, "uint8")
        given = to_probabilities(chain.predict_on_batch(random))
    except (ValueError, TypeError, IndexError):  # parts that do not fit, one behind the other
        return None
    same = np.abs(given - model.predict_on_batch(random)).max() <= TOLERANCE
    return Looking(chain) if same else None
