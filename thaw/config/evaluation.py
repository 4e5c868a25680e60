"""`evaluate`: how trained models are measured."""

from typing import Annotated

from pydantic import Field

from thaw.config.base import Section


class Evaluate(Section):
    bootstrap: Annotated[int, Field(ge=100)]
    """Resamplings of the test data behind each 95 % interval."""
    ece_bins: Annotated[int, Field(ge=2, le=100)]
    """Bins of equal width for the expected calibration error and the reliability diagram."""
    gallery: Annotated[int, Field(ge=1, le=50)]
    """Test images shown of each: right, and most confidently wrong."""
