"""`evaluate`: how trained models are evaluated."""

from typing import Annotated

from pydantic import Field

from thaw.config.base import Section


class Evaluate(Section):
    """The parameters of an evaluation."""

    bootstrap: Annotated[int, Field(ge=100)]
    """Bootstrap samples of the test data for each 95 % confidence interval."""
    ece_bins: Annotated[int, Field(ge=2, le=100)]
    """Bins of equal width for the expected calibration error and the reliability diagram."""
    gallery: Annotated[int, Field(ge=1, le=50)]
    """Test images to show of each group: correct, and most confidently wrong."""
