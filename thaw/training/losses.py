"""The terms of a loss, put together from parameters."""

import hashlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path

from thaw.config.base import did_you_mean
from thaw.config.training import Training, loss_file
from thaw.errors import UserError
from thaw.runtime.tensorflow import keras


class LossTerms:
    """The loss of a training: which layers it needs, and what it makes of their outputs.

    Args:
        training: parameters with `losses`.

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
        named = [name for term in self.terms.values() for name in (term.output, term.layer) if name]
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
                    if term.output and not training:
                        continue
                    read = [given[places[term.layer]]] if term.layer else []
                    each = functions[name](y, given[places[term.output]], *read)
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
    """Return the function of each term, and the digest of their file."""
    path = Path(loss_file(next(iter(training.losses.values())).function))
    try:
        content = path.read_bytes()
        spec = importlib.util.spec_from_file_location("losses_of_the_training", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises
        raise UserError(
            f"losses: {path} cannot be run. Expected a Python file with loss functions. "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from None
    known = [
        name for name, value in vars(module).items() if callable(value) and not name.startswith("_")
    ]
    functions = {}
    for name, term in training.losses.items():
        function = term.function.rpartition(":")[2]
        if function not in known:
            raise UserError(
                f"losses.{name}.function = {term.function!r}: expected a function of "
                f"{path}: {', '.join(known)}.{did_you_mean(function, known)}"
            )
        functions[name] = getattr(module, function)
        arguments = ("true", "predicted", "layer_output")[: 3 if term.layer else 2]
        try:
            inspect.signature(functions[name]).bind(*arguments)
        except TypeError:
            raise UserError(
                f"losses.{name}.function = {term.function!r}: expected a function of "
                f"({', '.join(arguments)}), since losses.{name}.layer = {term.layer}, and it takes "
                f"{inspect.signature(functions[name])}."
            ) from None
    return functions, hashlib.sha256(content).hexdigest()
