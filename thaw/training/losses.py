"""Combine the terms of a training loss as the parameters describe."""

import hashlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thaw.config.base import did_you_mean
from thaw.config.training import Training, loss_file
from thaw.errors import UserError
from thaw.runtime.tensorflow import keras


class LossTerms:
    """The weighted sum of loss functions that a training minimizes.

    Args:
        training: parameters with `losses`.

    Attributes:
        digest: SHA-256 of the file of loss functions, for the recipe of a training.

    Raises:
        UserError: the file cannot be run, or a function is missing or takes other arguments.
    """

    def __init__(self, training: Training) -> None:
        self.terms = training.losses
        self._functions, self.digest = _functions(training)

    def outputs(self, model: keras.Model) -> list[Any]:
        """Return the model's first output, then that of each layer that a term names.

        Raises:
            UserError: the model has no such layer.
        """
        known = [layer.name for layer in model.layers]
        outputs = [model.outputs[0]]
        for name in self._layers():
            if name not in known:
                raise UserError(
                    f"losses name the layer {name!r}: expected one of {', '.join(known)}."
                    f"{did_you_mean(name, known)}"
                )
            outputs.append(model.get_layer(name).output)
        return outputs

    def _layers(self) -> list[str]:
        """Return the names of the layers that terms use, each once."""
        names = [name for term in self.terms.values() for name in (term.output, term.layer) if name]
        return list(dict.fromkeys(names))

    def trainer(self, inputs: Any, outputs: list[Any]) -> keras.Model:
        """Return a model from `inputs` to `outputs` that trains with this loss.

        Validation counts only the terms on the model's output, so that the losses of models with
        and without auxiliary classifiers can be compared.

        Args:
            inputs: of the model.
            outputs: from the method `outputs`.
        """
        index: dict[str | None, int] = {name: n for n, name in enumerate(self._layers(), start=1)}
        index[None] = 0
        terms, functions = self.terms, self._functions

        class Trainer(keras.Model):  # type: ignore[misc]
            def compute_loss(
                self,
                x: Any = None,
                y: Any = None,
                y_pred: Any = None,
                sample_weight: Any = None,
                training: bool = True,
            ) -> Any:
                predictions = y_pred if isinstance(y_pred, (list, tuple)) else [y_pred]
                total = sum(self.losses, start=0.0)  # L1 and L2 penalties
                for name, term in terms.items():
                    if term.output and not training:
                        continue
                    layer_output = [predictions[index[term.layer]]] if term.layer else []
                    losses = functions[name](y, predictions[index[term.output]], *layer_output)
                    if len(losses.shape) != 1:
                        raise UserError(
                            f"losses.{name}.function = {term.function!r}: expected a loss for each "
                            f"image, (batch,), and it returns {tuple(losses.shape)}."
                        )
                    if sample_weight is not None:
                        losses = losses * keras.ops.cast(
                            keras.ops.reshape(sample_weight, (-1,)), losses.dtype
                        )
                    total = total + term.weight * keras.ops.mean(losses)
                return total

            def compute_metrics(
                self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
            ) -> dict[str, Any]:
                predictions = y_pred if isinstance(y_pred, (list, tuple)) else [y_pred]
                return super().compute_metrics(x, y, predictions[0], sample_weight)

        return Trainer(inputs, outputs)


def _functions(training: Training) -> tuple[dict[str, Callable[..., Any]], str]:
    """Return the function of each term, and the SHA-256 of their file."""
    path = Path(loss_file(next(iter(training.losses.values())).function))
    try:
        content = path.read_bytes()
        spec: Any = importlib.util.spec_from_file_location("losses_of_the_training", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # the user's file may raise anything
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
