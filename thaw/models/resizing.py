"""Resize pictures inside a Keras model exactly as thaw.data.decoding does."""

from typing import Any

from thaw.config.dataset import Size, height_width

INTERPOLATION = {"lanczos": "lanczos3"}  # Keras's names of Pillow's filters, where they differ


def resize_pictures(pictures: Any, size: Size, resampling: str, colour: str, fit: str) -> Any:
    """Return the pixels that thaw.data.decoding would return, (batch, height, width, 3 or 1),
    uint8.

    Both calculate in float32 and round once. A few in 10,000 values differ by 1, where a value
    lies halfway between two integers.

    Args:
        pictures: tensor (batch, height, width, 3) of uint8 RGB pictures.
        size: height and width of the result, pixels.
        resampling: Pillow's filter, as in dataset.image.resampling.
        colour: rgb or grey.
        fit: stretch, crop or pad, as in dataset.image.fit.
    """
    from thaw.runtime.tensorflow import keras

    x = keras.ops.cast(pictures, "float32")  # (batch, height, width, 3)
    if colour == "grey":  # exactly as Pillow: these sums of integers are below 2^24
        weighted = x * keras.ops.convert_to_tensor([19595.0, 38470.0, 7471.0])
        x = keras.ops.sum(weighted, axis=-1, keepdims=True)  # (batch, height, width, 1)
        x = keras.ops.floor((x + 32768.0) / 65536.0)
    x = keras.ops.image.resize(
        x,
        height_width(size),
        interpolation=INTERPOLATION.get(resampling, resampling),
        antialias=True,
        crop_to_aspect_ratio=fit == "crop",
        pad_to_aspect_ratio=fit == "pad",
        data_format="channels_last",
    )  # (batch, height, width, 3 or 1)
    return keras.ops.cast(keras.ops.clip(keras.ops.round(x), 0, 255), "uint8")
