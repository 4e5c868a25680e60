"""Compare splits with and without near-duplicates kept together: `python -m benchmarks.groups`.

Reads data/index.csv and cached features of the current project, after `dvc repro`. For each seed it
draws a split by single images and one that divides no group of near-duplicates, fits the logistic
regression of conf/subnet/logistic.yaml on the training images and measures it on the test images.
It adds the results to benchmarks/results/groups.json.
"""

import argparse
import json

import numpy as np
import pandas as pd

from benchmarks.clone import ROOT
from thaw.config.base import load_section, read_params
from thaw.config.dataset import NEAR_DUPLICATES, Dataset, Split
from thaw.data.duplicates import embeddings, pairs_across_splits
from thaw.data.grouping import split_groups
from thaw.data.split_table import sample_weights
from thaw.data.splitting import assign_splits
from thaw.evaluation.metrics import intervals
from thaw.models import logistic
from thaw.storage.arrays import ArrayFolder

RESULTS = ROOT / "benchmarks/results/groups.json"
C, MAX_ITER, POOLING = 0.01, 2000, "average_max"  # of conf/subnet/logistic.yaml
RESAMPLINGS = 1000


def main() -> None:
    """Measure, print, and update benchmarks/results/groups.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", default=["lite0", "vgg16"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--similarity", type=float, nargs="*", default=[0.99, 0.98])
    chosen = parser.parse_args()
    index = pd.read_csv("data/index.csv", dtype=str, keep_default_na=False)
    index = index[index["problem"] == ""].reset_index(drop=True)
    split, dataset = load_section(Split, "dataset", "split"), read_params("dataset")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for backbone in chosen.backbones:
        features = ArrayFolder(f"data/features/{backbone}")
        keys = index["pixel_sha256"].tolist()
        inputs = logistic.pooled(features.select(keys), POOLING)
        vectors = embeddings(features, keys)
        for similarity in [None, *chosen.similarity]:
            changes = {"group": similarity and NEAR_DUPLICATES}
            if similarity:
                changes["near_duplicate_similarity"] = similarity
            grouped = split.model_copy(update=changes)
            images = index.assign(split_group=split_groups(index, grouped, features))
            sizes = images["split_group"].value_counts()
            for seed in range(chosen.seeds):
                images["splits"] = assign_splits(images, grouped.model_copy(update={"seed": seed}))
                near, _ = pairs_across_splits(vectors, images["splits"].to_numpy(), 0.99, 1)
                line = {
                    "features": backbone,
                    "similarity": similarity,
                    "seed": seed,
                    "groups": len(sizes),
                    "largest_group": int(sizes.iloc[0]),
                    "near_duplicate_pairs_across_splits": near,
                    **_measure(images, inputs, Dataset(**dataset), similarity is not None),
                }
                print(line, flush=True)
                results = [other for other in results if _key(other) != _key(line)] + [line]
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    table = pd.DataFrame(results).groupby(["features", "similarity"], dropna=False)["accuracy"]
    print(table.agg(["mean", "min", "max"]))


def _key(line: dict) -> tuple:
    return line["features"], line["similarity"], line["seed"]


def _measure(
    images: pd.DataFrame, inputs: np.ndarray, dataset: Dataset, grouped: bool
) -> dict[str, object]:
    """Return the test accuracy of a logistic regression with its 95 % interval."""
    classes = sorted(set(images["label"]))
    table = images.assign(
        **{"class": images["label"].map(classes.index)},
        confidence=pd.to_numeric(images["confidence"]) if dataset.confidence_weight else np.nan,
    )
    train, test = (np.flatnonzero(table["splits"] == name) for name in ("train", "test"))
    labels = table["class"].to_numpy()
    weights = sample_weights(table.iloc[train].reset_index(drop=True), "none")
    model = logistic.fit(inputs[train], labels[train], weights, C, MAX_ITER)
    probabilities = logistic.predict(model, inputs[test])
    groups = table["split_group"].to_numpy()[test] if grouped else None
    bounds = intervals(labels[test], probabilities, RESAMPLINGS, groups)["accuracy"]
    return {
        "train": len(train),
        "test": len(test),
        "accuracy": round(float((probabilities.argmax(1) == labels[test]).mean()), 4),
        "interval_95": [round(bound, 4) for bound in bounds],
    }


if __name__ == "__main__":
    main()
