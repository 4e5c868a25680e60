"""What every training shares: optimizer, length, which epoch is kept, how images weigh."""

from typing import Annotated, Literal

from pydantic import Field

from stages.params.base import Section

Share = Annotated[float, Field(ge=0, lt=1)]


class Training(Section):
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    momentum: Share
    """Used by sgd alone."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled from the gradient; used by adamw alone."""
    schedule: Literal["constant", "cosine"]
    """`cosine`: a tenth of all steps to warm up, then down to zero at the last epoch."""
    batch_size: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    patience: Annotated[int, Field(ge=1)] | None
    """Epochs without a better validation loss before training ends; none: never."""
    keep: Literal["best", "last"]
    """`best` by validation loss, or the last epoch, as some published recipes do."""
    class_weight: Literal["none", "balanced"]
    """`balanced`: every class weighs the same in the loss, however many images it has."""
    confidence_weight: bool
    """Images weigh by the confidence of their label, where the data set gives one."""


class Augmentation(Section):
    """Random changes of a training image. Flips are used where `dataset.symmetries` has them."""

    horizontal_flip: bool
    vertical_flip: bool
    shear: Share
    """Largest share of the width by which a row is moved."""
    zoom: Share
    """Largest share by which the picture is enlarged or shrunk."""
