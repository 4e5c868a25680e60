"""Evaluate models/NAME on the test images: metrics, predictions, curves and figures."""

from thaw.evaluation.evaluate import evaluate
from thaw.evaluation.model_outputs import model_outputs
from thaw.storage.dvc import verify_outputs


def main(name: str) -> None:
    """Write the model's files under results/ (see thaw.evaluation.evaluate)."""
    verify_outputs(f"models/{name}")
    evaluate(name, model_outputs(name))
