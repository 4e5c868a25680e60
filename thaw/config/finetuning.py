"""`finetunes.NAME`: a trained subnet on its backbone, the backbone's end thawed."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.training import Augmentation, Training


class Finetune(Training):
    subnet: str
    """The trained subnet to start from."""
    fresh: bool
    """Take the subnet's layers but not what it learnt: its weights are drawn as for its own
    training, with the same seed."""
    thaw_from: str | None
    """The first layer of the backbone that trains, with all after it; none trains the subnet
    alone."""
    through: Literal["cache", "network"]
    """`cache`: the frozen part is run once over `views` of each image and its outputs are kept.
    `network`: every epoch runs the whole network over newly drawn augmentations."""
    views: Annotated[int, Field(ge=1, le=64)]
    """Of each training image when `through` is cache; the first is the image itself. Flips take
    turns over the views, so that 4 of them hold every combination of two flips."""
    augmentation: Augmentation
    average_flips: bool
    """The finished model averages its probabilities over the flips that `augmentation` allows,
    at as many times the cost of a prediction."""
