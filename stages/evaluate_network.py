"""Stage evaluate_network@N: a network trained on pixels, on the test images."""

from stages.command import run
from stages.results.pixels import evaluate_pixels

if __name__ == "__main__":
    run(evaluate_pixels)
