"""`audits.NAME`: find label errors, outliers and near-duplicates with cached features."""

from typing import Annotated

from pydantic import Field

from thaw.config.base import Section, unit
from thaw.config.training import Positive


class Audit(Section):
    """The parameters of an audit."""

    features: str
    """The backbone whose features are read."""
    folds: Annotated[int, Field(ge=2, le=50)]
    """Cross-validation folds: a logistic regression trained on the others judges each fold."""
    C: Annotated[float, Field(gt=0)]
    """Inverse strength of the regression's L2 penalty."""
    max_iter: Positive
    """Largest number of iterations of the regression's solver."""
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)]
    """Cosine similarity of averaged features from which two images are near-duplicates."""
    k: Annotated[int, Field(ge=1, le=100)]
    """An image is an outlier if its k nearest images are far away on average."""
    max_images: Annotated[int, Field(ge=100, le=100_000), unit("images")]
    """Largest number of images to compare pair by pair. Of more images, an evenly spaced selection
    is compared."""
    train_sizes: Annotated[list[Positive], Field(min_length=1), unit("images")]
    """Training-set sizes of the learning curve, in addition to half of and all training images."""
    repeats: Annotated[int, Field(ge=1, le=100)]
    """Random training sets of each size. The learning curve shows the range of their results."""
