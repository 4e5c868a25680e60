"""Random changes of training images, as Keras layers and as numbered views."""

from collections.abc import Callable

import numpy as np

from thaw.config.training import Augmentation
from thaw.runtime.tensorflow import keras, tf


def allowed_augmentation(augmentation: Augmentation, symmetries: list[str]) -> Augmentation:
    """`augmentation` without the flips that change what a picture of this data set shows."""
    return augmentation.model_copy(
        update={
            "horizontal_flip": augmentation.horizontal_flip and "horizontal" in symmetries,
            "vertical_flip": augmentation.vertical_flip and "vertical" in symmetries,
        }
    )


def random_layers(augmentation: Augmentation) -> list:
    """Keras layers that shear and zoom pixels (batch, height, width, channels) while training."""
    chosen = []
    if augmentation.shear:
        chosen.append(keras.layers.RandomShear(augmentation.shear, fill_mode="nearest"))
    if augmentation.zoom:
        chosen.append(
            keras.layers.RandomZoom(
                (-augmentation.zoom, augmentation.zoom), (-augmentation.zoom, augmentation.zoom)
            )
        )
    return chosen


def random_flips(
    pixels: np.ndarray, random: np.random.Generator, augmentation: Augmentation
) -> np.ndarray:
    """Pixels (batch, height, width, channels), each image in one of the allowed combinations of
    flips. Here and not in a layer: Keras's RandomFlip takes longer than a small network's step."""
    turned = flips(augmentation)
    if len(turned) == 1:
        return pixels
    chosen = random.integers(len(turned), size=len(pixels))
    made = np.array(pixels)
    for number, (vertical, horizontal) in enumerate(turned):
        some = chosen == number
        made[some] = made[some][:, :: -1 if vertical else 1, :: -1 if horizontal else 1]
    return made


def flips(augmentation: Augmentation) -> list[tuple[bool, bool]]:
    """Every combination of the flips allowed, as (vertical, horizontal), the identity first."""
    vertical = [False, True] if augmentation.vertical_flip else [False]
    horizontal = [False, True] if augmentation.horizontal_flip else [False]
    return [(v, h) for v in vertical for h in horizontal]


def distinct_views(augmentation: Augmentation, views: int) -> int:
    """How many of `views` views differ: no more than combinations of flips where nothing else
    changes."""
    if augmentation.shear or augmentation.zoom:
        return views
    return min(views, len(flips(augmentation)))


def view_function(augmentation: Augmentation) -> Callable[[np.ndarray, str, int], np.ndarray]:
    """A function from an image, its key and a number to that view of it.

    View 0 is the image itself. The others take the combinations of flips in turn; shear and zoom
    are drawn from the image's key and the view's number, so that a view is always the same.

    Returns:
        (image (height, width, channels) uint8, key (hexadecimal), view) -> the same shape, uint8.
    """
    turns = flips(augmentation)
    changes = random_layers(augmentation)
    generators = [layer.generator.state for layer in changes]

    @tf.function(autograph=False)
    def change(image, seeds):
        for number, (layer, state) in enumerate(zip(changes, generators, strict=True)):
            state.assign(seeds[number])
            image = layer(image, training=True)
        return tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8)

    def view(image: np.ndarray, key: str, number: int) -> np.ndarray:
        if number == 0:
            return image
        vertical, horizontal = turns[number % len(turns)]
        image = image[:: -1 if vertical else 1, :: -1 if horizontal else 1]
        if changes:
            random = np.random.default_rng([int(key[:16], 16), number])
            seeds = random.integers(2**31, size=(len(changes), 2)).astype("uint32")
            image = change(tf.cast(image[None], tf.float32), seeds)[0].numpy()
        return image

    return view
