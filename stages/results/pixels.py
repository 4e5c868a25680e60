"""Evaluation of a model that reads pixels."""

from pathlib import Path

import numpy as np

from stages.images.arrays import Arrays
from stages.inputs import checked
from stages.networks.gradcam import GradCam
from stages.networks.predict import predict
from stages.networks.stored import stored
from stages.results.evaluate import evaluate

BATCH_SIZE = 32
EXPLAINED = 100
"""Images of which Grad-CAM is kept: each costs as much as a prediction."""


def evaluate_pixels(name: str) -> None:
    """Write the results of models/NAME, see stages/results/evaluate.py."""
    checked(f"models/{name}")
    images = Arrays("data/images")
    model = Path(f"models/{name}/model.keras")

    def explain(keys: list[str], classes: np.ndarray) -> np.ndarray | None:
        gradcam = GradCam(stored(model))
        return gradcam(images.select(keys), classes)

    evaluate(name, lambda keys: predict(model, images.select(keys), BATCH_SIZE), explain, EXPLAINED)
