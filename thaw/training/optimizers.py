"""Keras's Adam and AdamW with the update in one TensorFlow operation.

Keras computes an update of Adam in a dozen operations, and each of them passes over all weights. A
subnet with millions of weights and small batches then waits for memory most of the time.
"""

from typing import Any

from thaw.runtime.tensorflow import keras, tf


class _FusedUpdate:
    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update `variable` as keras.optimizers.Adam does without amsgrad.

        Source: Kingma and Ba 2015, "Adam", the form before section 2.1, as in both libraries.
        """
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


def _handle(variable: Any) -> Any:
    """Return the resource handle of a Keras variable or of a TensorFlow variable."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


class Adam(_FusedUpdate, keras.optimizers.Adam):  # type: ignore[misc]
    """keras.optimizers.Adam with a faster update. Weight decay and clipping are Keras's."""


class AdamW(_FusedUpdate, keras.optimizers.AdamW):  # type: ignore[misc]
    """keras.optimizers.AdamW with a faster update. Keras applies the decay before it."""
