"""`finetunes.NAME`: a trained subnet on its backbone, the end of the backbone thawed."""

from typing import Annotated

from pydantic import Field

from thaw.config.training import Augmentation, Training


class Finetune(Training):
    """The parameters of a fine-tuning."""

    subnet: str
    """The trained subnet to start from."""
    reinitialize_head: bool
    """Start from the subnet's initial weights instead of its trained ones: drawn as for its own
    training, with the same seed."""
    thaw_from: str | None
    """The first layer of the backbone that is trained, with all after it; null trains the subnet
    alone."""
    cached: bool
    """true: run the frozen part once over `augmented_views` of each image and cache its outputs.
    false: run the whole network in every epoch, over new random augmentations."""
    augmented_views: Annotated[int, Field(ge=1, le=64)]
    """Views of each training image if `cached`; the first is the image itself. Flips alternate
    over the views, so that 4 of them contain every combination of two flips."""
    augmentation: Augmentation
    test_time_augmentation: bool
    """The finished model averages its probabilities over the flips that `augmentation` allows,
    at as many times the cost of a prediction."""
