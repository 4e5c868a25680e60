"""Loss functions for training. This file is yours: add functions to it.

`losses.TERM.function` in params.yaml names a function of this file. It takes the labels and the
predictions of a batch and returns a loss for each image:

    true          (batch, 1) float32 0 or 1 for a sigmoid output, else (batch,) int32 class numbers
    predicted     (batch, 1) or (batch, classes) float32 probabilities
    layer_output  the output of the layer in `losses.TERM.layer`; only if that is set

    returns       (batch,) float32

To add a loss, write a function below, such as this one for a sigmoid output:

    def my_loss(true, predicted):
        return ops.mean((true - predicted) ** 2, axis=-1)

Then train with it:

    dvc exp run -S experiment=pixels_only -S networks.small_cnn.losses.main.function=my_loss

To keep a function in another file, name that file too: `function=FILE.py:my_loss`. After an edit of
the file, the models that use it are trained again.
"""

from thaw.runtime.tensorflow import keras

ops = keras.ops


def cross_entropy(true, predicted):
    """Return the negative log of the true class's probability."""
    if predicted.shape[-1] == 1:
        return keras.losses.binary_crossentropy(true, predicted)
    return keras.losses.sparse_categorical_crossentropy(true, predicted)


def smoothed(true, predicted):
    """Return the cross-entropy with a twentieth of the label spread evenly over all classes.

    It keeps probabilities away from 0 and 1, so that models end less overconfident.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision".
    """
    classes = predicted.shape[-1]
    if classes == 1:
        return keras.losses.binary_crossentropy(true, predicted, label_smoothing=0.05)
    labels = ops.one_hot(ops.reshape(true, (-1,)), classes)
    return keras.losses.categorical_crossentropy(labels, predicted, label_smoothing=0.05)


def focal(true, predicted):
    """Return the cross-entropy times (1 - p)^2, which down-weights well-classified images.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", with gamma 2.
    """
    p = ops.exp(-cross_entropy(true, predicted))
    return (1 - p) ** 2 * cross_entropy(true, predicted)


def activity(true, predicted, layer_output):
    """Return the mean absolute output of a layer.

    Added with a small weight, it makes few units of the layer respond to an image.
    """
    flat = ops.reshape(layer_output, (ops.shape(layer_output)[0], -1))
    return ops.mean(ops.abs(flat), axis=-1)
