"""Stock Keras on a folder of images: `python peers_keras.py WEIGHTS IMAGES EPOCHS SEED`.

It follows the guide "Transfer learning & fine-tuning" of keras.io, for EfficientNet-Lite0 with the
weights in WEIGHTS (.npz): a dropout and a dense layer on the frozen network with Adam, then as many
epochs with all layers at a learning rate of 1e-5. IMAGES has train/CLASS and test/CLASS. The last
word that it prints is the accuracy on test.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras

from thaw.models.backbones.applications import load_backbone

SIZE = 224


def main(weights: str, images: str, epochs: str, seed: str) -> None:
    """Train and print the accuracy."""
    keras.utils.set_random_seed(int(seed))
    train, test = (
        keras.utils.image_dataset_from_directory(
            f"{images}/{part}", image_size=(SIZE, SIZE), batch_size=32, seed=int(seed), shuffle=new
        ).prefetch(2)
        for part, new in (("train", True), ("test", False))
    )
    base = load_backbone("EfficientNetLite0", SIZE, weights, "float32")
    base.trainable = False
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.RandomFlip("horizontal")(pixels)
    x = keras.layers.RandomRotation(0.1)(x)
    x = base(keras.layers.Rescaling(1 / 128, -127 / 128)(x), training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(1)(keras.layers.Dropout(0.2)(x))
    model = keras.Model(pixels, outputs)
    for trainable, rate in ((False, 1e-3), (True, 1e-5)):
        base.trainable = trainable
        model.compile(
            keras.optimizers.Adam(rate),
            keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=[
                keras.metrics.BinaryAccuracy(threshold=0.0)
            ],  # a logit of 0 is a probability of 0.5
        )
        model.fit(train, epochs=int(epochs), verbose=2)
    print(model.evaluate(test, verbose=0)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
