"""Collect the data of the page's script: test images, predictions, maps and similar images."""

import base64
from typing import Any

import numpy as np
import pandas as pd

from thaw.data.duplicates import embeddings, nearest_neighbors
from thaw.data.raw import original_path
from thaw.evaluation.predictions import most_informative
from thaw.report.run_results import Features, Model, RunResults
from thaw.report.thumbnails import thumbnails

MOST_IMAGES = 800  # test images in the page; of more, the most informative of each model
TEST_PIXELS, TRAIN_PIXELS = 128, 88  # width and height of a thumbnail
NEIGHBORS = 4  # training images shown with a test image


def gallery_data(results: RunResults, features: Features | None) -> dict[str, Any]:
    """Return what page.js reads, as JSON values.

    Long arrays are base64 strings of little-endian float32. In `images`, `n` is the number of the
    test image, `k` starts its `pixel_sha256`, `p` is its path, `g` its group and `like` holds
    (number in `train`, cosine similarity) of similar training images.

    Args:
        results: of the project.
        features: cached features, to find similar training images.
    """
    table = results.table
    models = [] if table is None else results.with_predictions
    entries: list[dict[str, Any]] = [{"name": m.name, **_scores(results, m)} for m in models]
    data: dict[str, Any] = {
        "classes": results.classes,
        "models": entries,
        "images": [],
        "train": {},
        "thumbs": {},
        "tests": 0,
        "features": results.backbone(features[0]) if features else None,
    }
    if table is None or not models:
        return data
    test = table[table["split"] == "test"].reset_index(drop=True)
    data["tests"] = len(test)
    true = test["label"].map(results.classes.index).to_numpy()
    data["true"] = _packed(true.astype("float32"))
    numbers = _chosen(models, true)
    keys = test["pixel_sha256"].iloc[numbers].tolist()
    for number, key in zip(numbers, keys, strict=True):
        row = test.iloc[number]
        data["images"].append(
            {"n": int(number), "k": key[:12], "p": original_path(row["path"]), "g": row["group"]}
        )
    train_keys: list[str] = []
    neighbors = _similar_training_images(table, features, keys)
    if neighbors is not None:
        train, nearest, cosines = neighbors
        for image, rows_of_image, similarities in zip(
            data["images"], nearest, cosines, strict=True
        ):
            image["like"] = [
                [int(n), round(float(c), 3)]
                for n, c in zip(rows_of_image, similarities, strict=True)
            ]
        shown = np.unique(nearest)
        rows = train.iloc[shown]
        train_keys = rows["pixel_sha256"].tolist()
        data["train"] = {
            int(n): [row.pixel_sha256[:12], row.label, original_path(row.path)]
            for n, row in zip(shown, rows.itertuples(index=False), strict=True)
        }
    if results.images is not None:
        for field, wanted, size in (
            ("thumbs", keys, TEST_PIXELS),
            ("small", train_keys, TRAIN_PIXELS),
        ):
            uris = thumbnails(results.images, wanted, size)
            data[field] = {key[:12]: uri for key, uri in uris.items()}
    for model, entry in zip(models, entries, strict=True):
        assert model.probabilities is not None
        entry["p"] = _packed(model.probabilities[numbers].astype("float32"))
        entry["maps"] = _maps(model, numbers)
    return data


def _scores(results: RunResults, model: Model) -> dict[str, str]:
    """Return the second of two classes' probability for all test images, for the slider."""
    if len(results.classes) != 2 or model.probabilities is None:
        return {}
    return {"all": _packed(model.probabilities[:, 1].astype("float32"))}


def _chosen(models: list[Model], true: np.ndarray) -> np.ndarray:
    if len(true) <= MOST_IMAGES:
        return np.arange(len(true))
    count = MOST_IMAGES // len(models)
    known = [m.probabilities for m in models if m.probabilities is not None]
    return np.unique(np.concatenate([most_informative(true, p, count) for p in known]))


def _similar_training_images(
    table: pd.DataFrame, features: Features | None, keys: list[str]
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray] | None:
    """Find the training images whose features are most similar to those of `keys`.

    Returns:
        The training rows, the numbers of the most similar ones and their cosine similarities,
        both of shape (n, NEIGHBORS); None if there are no features or no training images.
    """
    if features is None:
        return None
    train = table[table["split"] == "train"].drop_duplicates("pixel_sha256")
    train = train.reset_index(drop=True)
    if train.empty:
        return None
    queries = embeddings(features[1], keys)
    candidates = embeddings(features[1], train["pixel_sha256"].tolist())
    return train, *nearest_neighbors(queries, candidates, NEIGHBORS)


def _maps(model: Model, numbers: np.ndarray) -> dict[str, Any] | None:
    """Return the maps of the shown images, concatenated, and the positions of these images."""
    recorded = model.maps or {}
    places = [place for place, n in enumerate(numbers.tolist()) if n in recorded]
    if not places:
        return None
    maps = np.stack([recorded[int(numbers[place])] for place in places])
    return {
        "places": places,
        "height": maps.shape[1],
        "width": maps.shape[2],
        "values": base64.b64encode(maps.tobytes()).decode(),
    }


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
