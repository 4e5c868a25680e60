"""Stage best: select the model with the best results on validation images."""

from thaw.config.base import read_params
from thaw.evaluation.selection import write_best


def main() -> None:
    """Write results/best.json (see thaw.evaluation.selection). Test results have no part in it."""
    write_best(list(read_params("derived", "models")))
