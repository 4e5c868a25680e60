"""Evaluation of a model that reads pixels."""

from pathlib import Path

from stages.images.arrays import Arrays
from stages.inputs import checked
from stages.networks.predict import predict
from stages.results.evaluate import evaluate

BATCH_SIZE = 32


def evaluate_pixels(name: str) -> None:
    """Write the results of models/NAME, see stages/results/evaluate.py."""
    checked(f"models/{name}")
    images = Arrays("data/images")
    model = Path(f"models/{name}/model.keras")
    evaluate(name, lambda keys: predict(model, images.select(keys), BATCH_SIZE))
