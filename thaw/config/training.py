"""Parameters that all trainings share: losses, optimizer, number of epochs, epoch to keep."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from thaw.config.base import Section, unit
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
    """Factor of the term in the sum."""
    output: str | None = None
    """Layer whose output is `predicted`, such as an auxiliary classifier; null: the model's output.
    The term trains only the weights before that layer."""
    layer: str | None = None
    """Layer whose output is passed to the function as `layer_output`; null: no layer."""


class Training(Section):
    """The parameters that heads, networks and fine-tunings have in common."""

    losses: Annotated[dict[str, Loss], Field(min_length=1)]
    """Training minimizes the weighted sum. Validation measures the terms on the model's output."""
    optimizer: Optimizer
    """The optimizer and its parameters."""
    schedule: Literal["constant", "cosine", "exponential"]
    """Learning-rate schedule. `cosine`: rise for a tenth of all steps, then fall to zero at the
    last epoch. `exponential`: fall by a constant ratio to a hundredth at the last epoch."""
    batch_size: Annotated[Positive, unit("images")]
    """Images per training step."""
    epochs: Annotated[Positive, unit("epochs")]
    """Largest number of epochs."""
    monitor: Literal["loss", "accuracy"]
    """Validation metric that decides which epoch is better. Of epochs with the same accuracy, the
    one with the lower loss is better."""
    patience: Annotated[Positive | None, unit("epochs")]
    """Epochs without a better `monitor` after which training stops; null: train all epochs."""
    keep: Literal["best", "last"]
    """The epoch whose weights are kept: the `best` by `monitor`, or the last."""
    class_weight: Literal["none", "balanced"]
    """`balanced`: every class has the same total weight in the loss, however many images it has."""
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
    """Flip images left to right at random."""
    vertical_flip: bool
    """Flip images upside down at random."""
    shear: Share
    """Largest shift of a row of pixels, as a share of the width."""
    zoom: Share
    """Largest enlargement or reduction, as a share of the image's size."""


def loss_file(function: str) -> str:
    """Return the file of a loss function, FILE.py:NAME or NAME (in stages/losses.py)."""
    file, colon, _ = function.rpartition(":")
    return file if colon else LOSSES
