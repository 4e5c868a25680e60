"""What every training shares: losses, optimizer, length, and which epoch is kept."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from thaw.config.base import Section
from thaw.config.optimizer import Optimizer

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
LOSSES = "stages/losses.py"  # the file of loss functions that belongs to the user


class Loss(Section):
    """`losses.TERM`: one term of the training loss."""

    function: str
    """A function of stages/losses.py, or FILE.py:NAME for one in another file. It takes (true,
    predicted), or (true, predicted, layer_output) if `layer` is set."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    output: str | None = None
    """The layer whose output is `predicted`, such as an auxiliary classifier; null: the model's
    output. Only the weights before that layer are trained by this term."""
    layer: str | None = None
    """The layer whose output the function gets as well; null: none."""


class Training(Section):
    """The parameters that heads, networks and fine-tunings have in common."""

    losses: Annotated[dict[str, Loss], Field(min_length=1)]
    """Training minimizes their weighted sum. Validation measures those on the model's output."""
    optimizer: Optimizer
    schedule: Literal["constant", "cosine", "exponential"]
    """Of the learning rate. `cosine`: warm up for a tenth of all steps, then fall to zero at the
    last epoch. `exponential`: fall by a constant ratio to a hundredth at the last epoch."""
    batch_size: Positive
    epochs: Positive
    """At most."""
    monitor: Literal["loss", "accuracy"]
    """The validation metric that makes an epoch better than another."""
    patience: Positive | None
    """Epochs without a better `monitor` before training ends; null: never."""
    keep: Literal["best", "last"]
    """The `best` epoch by `monitor`, or the last one, as some published recipes do."""
    class_weight: Literal["none", "balanced"]
    """`balanced`: every class weighs the same in the loss, however many images it has."""
    tensorboard: bool = False
    """Write losses, metrics and histograms of the weights to logs/NAME for TensorBoard."""

    @field_validator("losses")
    @classmethod
    def _on_the_output_and_in_one_file(cls, losses: dict[str, Loss]) -> dict[str, Loss]:
        if all(loss.output for loss in losses.values()):
            raise ValueError("expected a term with output=null, on the model's own output")
        if len({loss_file(loss.function) for loss in losses.values()}) > 1:
            raise ValueError("expected functions of one file")
        return losses


class Augmentation(Section):
    """Random changes of a training image. Only flips in `dataset.allowed_flips` are used."""

    horizontal_flip: bool
    vertical_flip: bool
    shear: Share
    """Largest share of the width by which a row is moved."""
    zoom: Share
    """Largest share by which the picture is enlarged or shrunk."""


def loss_file(function: str) -> str:
    """Return the file of a loss function: that before the colon, or stages/losses.py."""
    file, colon, _ = function.rpartition(":")
    return file if colon else LOSSES
