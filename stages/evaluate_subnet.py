"""Stage evaluate_subnet@S: a subnet on the test data's features."""

import json
from pathlib import Path

import numpy as np

from stages.command import run
from stages.images.arrays import Arrays
from stages.results.evaluate import evaluate


def main(name: str) -> None:
    """Write the subnet's results, see stages/results/evaluate.py."""
    folder = Path(f"models/{name}")
    settings = json.loads((folder / "record.json").read_text())["settings"]
    features = Arrays(f"data/features/{settings['features']}")

    def predict(keys: list[str]) -> np.ndarray:
        places = features.rows_of(keys)
        if (folder / "model.npz").exists():
            from stages.networks import logistic

            pooled = logistic.pooled(features.rows, places)
            return logistic.predict(logistic.load(folder / "model.npz"), pooled)
        from stages.networks.predict import predict

        return predict(folder / "model.keras", features.rows, places, 256)

    evaluate(name, predict)


if __name__ == "__main__":
    run(main)
