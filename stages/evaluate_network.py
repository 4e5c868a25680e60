"""Stage evaluate_network@N: a network trained on pixels, on the test images."""

from stages.results.pixels import evaluate_pixels as main

__all__ = ["main"]
