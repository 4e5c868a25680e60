"""`audits.NAME`: label errors, outliers and near-duplicates by cached features."""

from typing import Annotated

from pydantic import Field

from thaw.config.base import Section
from thaw.config.training import Positive


class Audit(Section):
    """The parameters of an audit."""

    features: str
    """The backbone whose features it reads."""
    folds: Annotated[int, Field(ge=2, le=50)]
    """Each image is judged by a logistic regression that was fitted without its fold."""
    C: Annotated[float, Field(gt=0)]
    """Inverse strength of the regression's L2 penalty."""
    max_iter: Positive
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)]
    """Cosine similarity of averaged features from which two images are near-duplicates."""
    k: Annotated[int, Field(ge=1, le=100)]
    """An outlier is far from its k nearest images, on average."""
    max_images: Annotated[int, Field(ge=100, le=100_000)]
    """Images that are compared pair by pair; of more, this many spread evenly."""
    train_sizes: Annotated[list[Positive], Field(min_length=1)]
    """Training-set sizes of the learning curve, besides half of all and all."""
    repeats: Annotated[int, Field(ge=1, le=100)]
    """Random training sets of each size, whose range is reported."""
