"""Resize pictures inside a Keras model exactly as thaw.data.decoding does."""

INTERPOLATION = {"lanczos": "lanczos3"}
"""What Keras calls Pillow's filters, where it calls them otherwise."""


def resize_pictures(pictures, size: int, resampling: str, colour: str):
    """uint8 RGB pictures (batch, height, width, 3) of a model that is being made, as
    thaw.data.decoding makes them: (batch, size, size, 3 or 1), uint8.

    Both calculate in float32 and round once, so that they differ only where a value lies between
    two numbers: by 1, in a few of 10,000.
    """
    from thaw.runtime.tensorflow import keras

    x = keras.ops.cast(pictures, "float32")
    if colour == "grey":  # exactly as Pillow: these sums of whole numbers are below 2^24
        weighted = x * keras.ops.convert_to_tensor([19595.0, 38470.0, 7471.0])
        x = keras.ops.sum(weighted, axis=-1, keepdims=True)
        x = keras.ops.floor((x + 32768.0) / 65536.0)
    x = keras.ops.image.resize(
        x,
        (size, size),
        interpolation=INTERPOLATION.get(resampling, resampling),
        antialias=True,
        data_format="channels_last",
    )
    return keras.ops.cast(keras.ops.clip(keras.ops.round(x), 0, 255), "uint8")
