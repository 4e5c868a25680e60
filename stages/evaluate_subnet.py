"""Stage evaluate_subnet@S: a subnet on the test data's features. It starts no TensorFlow."""

import json
from pathlib import Path

import numpy as np

from stages.images.arrays import Arrays
from stages.inputs import checked
from stages.networks import gradcam, logistic
from stages.networks.subnet import predict
from stages.params.subnet import Logistic, subnet
from stages.results.evaluate import evaluate

EXPLAINED = 2000
"""Images of which Grad-CAM is kept: on features it costs next to nothing."""


def main(name: str) -> None:
    """Write the subnet's results, see stages/results/evaluate.py."""
    checked(f"models/{name}")
    settings = json.loads(Path(f"models/{name}/record.json").read_text())["settings"]
    parameters = subnet({k: v for k, v in settings.items() if k != "seed"}, name)
    features = Arrays(f"data/features/{parameters.features}")

    def probabilities(keys: list[str]) -> np.ndarray:
        selected = features.select(keys)
        if isinstance(parameters, Logistic):
            model = logistic.load(Path(f"models/{name}/model.npz"))
            return logistic.predict(model, logistic.pooled(selected, parameters.pooling))
        return predict(parameters, f"models/{name}/model.keras", selected)

    def explain(keys: list[str], classes: np.ndarray) -> np.ndarray:
        selected = features.select(keys)
        if isinstance(parameters, Logistic):
            model = logistic.load(Path(f"models/{name}/model.npz"))
            return gradcam.of_logistic(model, selected, classes)
        return gradcam.of_subnet(parameters, f"models/{name}/model.keras", selected, classes)

    evaluate(name, probabilities, explain, EXPLAINED)
