"""Losses that training can be told to make small, by name: `losses.TERM.function`.

A function takes what is true and what the model says, and gives a loss for each image:

    true       (batch, 1) float32 for a sigmoid unit, else (batch,) int32 class numbers
    predicted  (batch, 1) or (batch, classes) probabilities, float32
    read       the output of the layer that `losses.TERM.reads` names, if it does

    returns    (batch,) float32

For one of your own, write it in a file of your own, say my_losses.py:

    from thaw.runtime.tensorflow import keras

    def my_loss(true, predicted):
        return keras.ops.mean((true - predicted) ** 2, axis=-1)  # of a sigmoid unit

and name both:

    dvc exp run -S experiment=pixels_only -S networks.small_cnn.loss_file=my_losses.py \\
        -S networks.small_cnn.losses.main.function=my_loss
"""

from thaw.runtime.tensorflow import keras

ops = keras.ops


def cross_entropy(true, predicted):
    """Minus the log of the true class's probability."""
    if predicted.shape[-1] == 1:
        return keras.losses.binary_crossentropy(true, predicted)
    return keras.losses.sparse_categorical_crossentropy(true, predicted)


def focal(true, predicted):
    """Cross-entropy that counts images less the surer they already are, by (1 - p)^2.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", with gamma 2.
    """
    right = ops.exp(-cross_entropy(true, predicted))
    return (1 - right) ** 2 * cross_entropy(true, predicted)


def activity(true, predicted, read):
    """Mean absolute output of the layer that is read: added with a small weight, few of its units
    answer to an image."""
    return ops.mean(ops.abs(ops.reshape(read, (ops.shape(read)[0], -1))), axis=-1)
