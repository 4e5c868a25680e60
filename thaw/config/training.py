"""What every training shares: optimizer, length, which epoch is kept, how images weigh."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from thaw.config.base import Section

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]


class Loss(Section):
    """`losses.TERM`: one term of the loss that training makes small."""

    function: str
    """A function in the training's `loss_file`, of (true, predicted), or of (true, predicted,
    read) where `reads` is given; see stages/losses.py."""
    weight: Annotated[float, Field(gt=0)]
    at: str | None
    """The layer whose output is `predicted`, as an auxiliary classifier's; none: the model's.
    Only what lies before that layer learns by this term."""
    reads: str | None
    """The layer whose output the function gets as well."""


class Training(Section):
    losses: Annotated[dict[str, Loss], Field(min_length=1)]
    """Their weighted sum is trained. Validation measures those that are on the model's output."""
    loss_file: str
    """The Python file that has their functions, relative to the repository; the stage depends on
    it, so an edit trains anew."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    epsilon: Annotated[float, Field(gt=0)]
    """What keeps the division by the gradients' size finite; not used by sgd."""
    momentum: Share
    """Used by sgd alone."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled from the gradient; used by adamw alone."""
    schedule: Literal["constant", "cosine", "exponential"]
    """`cosine`: a tenth of all steps to warm up, then down to zero at the last epoch.
    `exponential`: evenly by ratio, down to a hundredth at the last epoch."""
    batch_size: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    monitor: Literal["loss", "accuracy"]
    """Of the validation data: what makes an epoch better than another."""
    patience: Annotated[int, Field(ge=1)] | None
    """Epochs without a better `monitor` before training ends; none: never."""
    keep: Literal["best", "last"]
    """The `best` epoch by `monitor`, or the last one, as some published recipes do."""
    tensorboard: bool
    """Write losses, metrics and histograms of the weights to logs/NAME for TensorBoard."""
    class_weight: Literal["none", "balanced"]
    """`balanced`: every class weighs the same in the loss, however many images it has."""
    confidence_weight: bool
    """Images weigh by the confidence of their label, where the data set gives one."""

    @field_validator("losses")
    @classmethod
    def _of_the_output(cls, losses: dict[str, Loss]) -> dict[str, Loss]:
        if all(loss.at for loss in losses.values()):
            raise ValueError("expected a term with at=null, of the model's own output")
        return losses


class Augmentation(Section):
    """Random changes of a training image. Flips are used where `dataset.symmetries` has them."""

    horizontal_flip: bool
    vertical_flip: bool
    shear: Share
    """Largest share of the width by which a row is moved."""
    zoom: Share
    """Largest share by which the picture is enlarged or shrunk."""
