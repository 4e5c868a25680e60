"""The terms of a loss, put together from parameters."""

import hashlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path

from thaw.config.base import did_you_mean
from thaw.config.training import Training
from thaw.errors import UserError
from thaw.runtime.tensorflow import keras


class LossTerms:
    """The loss of a training: which layers it needs, and what it makes of their outputs.

    Args:
        training: parameters with `losses` and `loss_file`.

    Attributes:
        digest: of the file of functions, for the recipe of a training.

    Raises:
        UserError: the file or a function is not there.
    """

    def __init__(self, training: Training):
        self.terms = training.losses
        self._functions, self.digest = _functions(training)

    def outputs(self, model: keras.Model) -> list:
        """The model's own output, then that of each other layer that a term needs.

        Raises:
            UserError: there is no such layer.
        """
        known = [layer.name for layer in model.layers]
        found = [model.outputs[0]]
        for name in self._layers():
            if name not in known:
                raise UserError(
                    f"losses name the layer {name!r}: expected one of {', '.join(known)}."
                    f"{did_you_mean(name, known)}"
                )
            found.append(model.get_layer(name).output)
        return found

    def _layers(self) -> list[str]:
        named = [name for term in self.terms.values() for name in (term.at, term.reads) if name]
        return list(dict.fromkeys(named))

    def trainer(self, inputs, outputs: list) -> keras.Model:
        """A model from `inputs` to `outputs`, as `outputs` gave them, that trains by this loss.

        Validation counts the terms on the model's own output alone, so that losses with and
        without auxiliary classifiers compare.
        """
        places = {name: place for place, name in enumerate(self._layers(), start=1)}
        places[None] = 0
        terms, functions = self.terms, self._functions

        class Trainer(keras.Model):
            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                given = y_pred if isinstance(y_pred, (list, tuple)) else [y_pred]
                total = sum(self.losses, start=0.0)  # penalties of layers
                for name, term in terms.items():
                    if term.at and not training:
                        continue
                    read = [given[places[term.reads]]] if term.reads else []
                    each = functions[name](y, given[places[term.at]], *read)
                    if len(each.shape) != 1:
                        raise UserError(
                            f"losses.{name}.function = {term.function!r}: expected a loss for each "
                            f"image, (batch,), and it gives {tuple(each.shape)}."
                        )
                    if sample_weight is not None:
                        each = each * keras.ops.cast(
                            keras.ops.reshape(sample_weight, (-1,)), each.dtype
                        )
                    total = total + term.weight * keras.ops.mean(each)
                return total

            def compute_metrics(self, x, y, y_pred, sample_weight=None):
                given = y_pred if isinstance(y_pred, (list, tuple)) else [y_pred]
                return super().compute_metrics(x, y, given[0], sample_weight)

        return Trainer(inputs, outputs)


def _functions(training: Training) -> tuple[dict[str, Callable], str]:
    path = Path(training.loss_file)
    try:
        content = path.read_bytes()
        spec = importlib.util.spec_from_file_location("losses_of_the_training", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises
        raise UserError(
            f"loss_file = {training.loss_file!r}: expected a Python file that can be run. "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from None
    known = [
        name for name, value in vars(module).items() if callable(value) and not name.startswith("_")
    ]
    found = {}
    for name, term in training.losses.items():
        if term.function not in known:
            raise UserError(
                f"losses.{name}.function = {term.function!r}: expected a function of "
                f"{training.loss_file}: {', '.join(known)}.{did_you_mean(term.function, known)}"
            )
        found[name] = getattr(module, term.function)
        given = ("true", "predicted", "read")[: 3 if term.reads else 2]
        try:
            inspect.signature(found[name]).bind(*given)
        except TypeError:
            raise UserError(
                f"losses.{name}.function = {term.function!r}: expected a function of "
                f"({', '.join(given)}), as losses.{name}.reads = {term.reads} has it, and it takes "
                f"{inspect.signature(found[name])}."
            ) from None
    return found, hashlib.sha256(content).hexdigest()
