"""`finetunes.NAME`: a trained subnet on its backbone, whose last layers are thawed."""

from typing import Annotated

from pydantic import Field

from thaw.config.training import Augmentation, Training


class Finetune(Training):
    """The parameters of a fine-tuning."""

    subnet: str
    """The trained subnet to start from, dense or logistic. With `keep: best` its weights are kept
    if no epoch is better on validation data."""
    reinitialize_head: bool
    """Start from the subnet's initial weights instead of its trained ones. They are drawn with the
    same seed as for the subnet's training."""
    thaw_from: str | None
    """First layer of the backbone to train, with all layers after it; null: train only the
    subnet."""
    cached: bool
    """true: run the frozen part once on `augmented_views` of each image and cache its outputs.
    false: run the whole network in every epoch, on new random augmentations."""
    augmented_views: Annotated[int, Field(ge=1, le=64)]
    """Views of each training image if `cached`. The first is the image itself. Flips alternate
    over the views, so that 4 views contain every combination of two flips."""
    augmentation: Augmentation
    """Random changes of the training images."""
    test_time_augmentation: bool
    """Average the finished model's probabilities over the flips that `augmentation` allows. A
    prediction then costs as many times more. With `keep: best` it is done only if the average is
    not worse by `monitor` on validation data."""
