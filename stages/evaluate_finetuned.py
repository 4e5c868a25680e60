"""Stage evaluate_finetuned@F: a fine-tuned model, on the test images."""

from stages.results.pixels import evaluate_pixels as main

__all__ = ["main"]
