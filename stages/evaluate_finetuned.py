"""Stage evaluate_finetuned@F: a fine-tuned model, on the test images."""

from stages.command import run
from stages.results.pixels import evaluate_pixels

if __name__ == "__main__":
    run(evaluate_pixels)
