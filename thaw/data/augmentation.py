"""Augment training images, by random Keras layers or as numbered, reproducible views."""

from collections.abc import Callable
from typing import Any

import numpy as np

from thaw.config.training import Augmentation
from thaw.runtime.tensorflow import keras, tf


def allowed_augmentation(augmentation: Augmentation, allowed_flips: list[str]) -> Augmentation:
    """Return `augmentation` without the flips that the dataset does not allow.

    Args:
        allowed_flips: `dataset.allowed_flips`: any of "horizontal" and "vertical".
    """
    return augmentation.model_copy(
        update={
            "horizontal_flip": augmentation.horizontal_flip and "horizontal" in allowed_flips,
            "vertical_flip": augmentation.vertical_flip and "vertical" in allowed_flips,
        }
    )


def random_layers(augmentation: Augmentation) -> list[Any]:
    """Return the Keras layers that shear and zoom images (batch, height, width, channels)."""
    layers = []
    if augmentation.shear:
        layers.append(keras.layers.RandomShear(augmentation.shear, fill_mode="nearest"))
    if augmentation.zoom:
        layers.append(
            keras.layers.RandomZoom(
                (-augmentation.zoom, augmentation.zoom), (-augmentation.zoom, augmentation.zoom)
            )
        )
    return layers


def random_flips(
    pixels: np.ndarray, random: np.random.Generator, augmentation: Augmentation
) -> np.ndarray:
    """Flip each image of a batch at random.

    This is NumPy code because Keras's RandomFlip takes longer than a training step of a small
    network.

    Args:
        pixels: Images (batch, height, width, channels).
        random: Draws one allowed combination of flips per image.
        augmentation: Says which flips are allowed.

    Returns:
        Images of the same shape and dtype; `pixels` itself if no flip is allowed.
    """
    combinations = flips(augmentation)
    if len(combinations) == 1:
        return pixels
    drawn = random.integers(len(combinations), size=len(pixels))
    flipped = np.array(pixels)
    for number, (vertical, horizontal) in enumerate(combinations):
        mask = drawn == number
        flipped[mask] = flipped[mask][:, :: -1 if vertical else 1, :: -1 if horizontal else 1]
    return flipped


def flips(augmentation: Augmentation) -> list[tuple[bool, bool]]:
    """Return all combinations of the allowed flips as (vertical, horizontal), identity first."""
    vertical = [False, True] if augmentation.vertical_flip else [False]
    horizontal = [False, True] if augmentation.horizontal_flip else [False]
    return [(v, h) for v in vertical for h in horizontal]


def distinct_views(augmentation: Augmentation, views: int) -> int:
    """Return how many of `views` views of an image differ.

    Without shear and zoom, there are only as many as there are combinations of flips.
    """
    if augmentation.shear or augmentation.zoom:
        return views
    return min(views, len(flips(augmentation)))


def view_function(augmentation: Augmentation) -> Callable[[np.ndarray, str, int], np.ndarray]:
    """Return a function that computes a numbered view of an image.

    View 0 is the image itself. The other views cycle through the combinations of flips. Their
    shear and zoom are drawn from the key of the image and the number of the view, so a view is
    always the same.

    Returns:
        A function of image (height, width, channels) uint8, key (hexadecimal) and number, which
        returns an image of the same shape, uint8.
    """
    combinations = flips(augmentation)
    layers = random_layers(augmentation)
    generators = [layer.generator.state for layer in layers]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def transform(image: Any, seeds: Any) -> Any:
        for number, (layer, state) in enumerate(zip(layers, generators, strict=True)):
            state.assign(seeds[number])
            image = layer(image, training=True)
        return tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8)

    def view(image: np.ndarray, key: str, number: int) -> np.ndarray:
        if number == 0:
            return image
        vertical, horizontal = combinations[number % len(combinations)]
        image = image[:: -1 if vertical else 1, :: -1 if horizontal else 1]
        if layers:
            random = np.random.default_rng([int(key[:16], 16), number])
            seeds = random.integers(2**31, size=(len(layers), 2)).astype("uint32")
            image = transform(tf.cast(image[None], tf.float32), seeds)[0].numpy()
        return image

    return view
