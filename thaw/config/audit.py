"""`doubts.NAME`: what cached features say of the data and its labels."""

from typing import Annotated

from pydantic import Field

from thaw.config.base import Section
from thaw.config.training import Positive


class Audit(Section):
    features: str
    """The backbone whose features it reads."""
    folds: Annotated[int, Field(ge=2, le=50)]
    """Each image is judged by a logistic regression that was fitted without its fold."""
    C: Annotated[float, Field(gt=0)]
    """Inverse strength of the regression's L2 penalty."""
    max_iter: Positive
    near: Annotated[float, Field(gt=0, le=1)]
    """Cosine of averaged features from which two images count as nearly the same."""
    neighbours: Annotated[int, Field(ge=1, le=100)]
    """An outlier is far from so many images, on average."""
    compared: Annotated[int, Field(ge=100, le=100_000)]
    """Images that are compared pair by pair; of more, as many spread evenly."""
    labelled: Annotated[list[Positive], Field(min_length=1)]
    """Training images with which accuracy is measured, besides half of all and all."""
    draws: Annotated[int, Field(ge=1, le=100)]
    """Of so many images each, whose range is given."""
