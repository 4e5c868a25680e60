"""Keras's Adam and AdamW with the update as one operation.

Keras writes Adam in a dozen operations, each of which passes over all weights; a subnet of millions
of weights and small batches waits for memory most of the time. TensorFlow has the same update as
one operation.
"""

from thaw.runtime.tensorflow import keras, tf


class _Fused:
    def update_step(self, gradient, variable, learning_rate) -> None:
        """Move `variable` against `gradient`, as keras.optimizers.Adam without amsgrad.

        Source: Kingma and Ba 2015, "Adam", the form before section 2.1, as in both libraries.
        """
        place = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[place]),
            v=_handle(self._velocities[place]),
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


def _handle(variable):
    """Of a Keras variable, or of the TensorFlow variable behind it, which Keras may give."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


class Adam(_Fused, keras.optimizers.Adam):
    """keras.optimizers.Adam; `weight_decay` and clipping are Keras's own."""


class AdamW(_Fused, keras.optimizers.AdamW):
    """keras.optimizers.AdamW: the decay is Keras's own, before the update."""
