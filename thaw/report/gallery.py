"""What the page's script needs: test images, what each model says of them, where it looked, and
the training images that are most like them."""

import base64

import numpy as np

from thaw.data.duplicates import embeddings, nearest_neighbors
from thaw.data.raw import original_path
from thaw.evaluation.predictions import most_informative
from thaw.report.data import Data
from thaw.report.results import Model, RunResults
from thaw.report.thumbnails import thumbnails
from thaw.storage.arrays import ArrayFolder

MOST = 800
"""Test images in the page; of more, the telling ones of each model."""
LARGE, SMALL = 128, 88
"""Pixels of a test image and of a training image."""
NEIGHBOURS = 4


def gathered(found: RunResults, lead: Model, data: Data | None, features) -> dict:
    """JSON values. Numbers of many images travel as base64: float32, little-endian.

    Args:
        lead: the model that the page opens with.
        features: name and Arrays of cached features, or none.
    """
    models = found.shown
    given_models = [
        {"name": model.name, "lead": model is lead, **_answers(found, model)} for model in models
    ]
    told = {
        "classes": found.classes,
        "models": given_models,
        "images": [],
        "train": {},
        "thumbs": {},
        "tests": 0,
        "features": found.backbone(features[0]) if features else None,
    }
    if found.table is None or not models:
        return told
    test = found.table[found.table["split"] == "test"].reset_index(drop=True)
    told["tests"] = len(test)
    true = test["label"].map(found.classes.index).to_numpy()
    told["true"] = _packed(true.astype("float32"))
    numbers = _chosen(models, true)
    keys = test["pixels"].iloc[numbers].tolist()
    for number, key in zip(numbers, keys, strict=True):
        row = test.iloc[number]
        told["images"].append(
            {"n": int(number), "k": key[:12], "p": original_path(row["path"]), "g": row["group"]}
        )
    like = _alike(found, features, keys)
    if like is not None:
        train, places, cosines = like
        for image, some, cosine in zip(told["images"], places, cosines, strict=True):
            image["like"] = [
                [int(n), round(float(c), 3)] for n, c in zip(some, cosine, strict=True)
            ]
        wanted = np.unique(places)
        rows = train.iloc[wanted]
        told["train"] = {
            int(n): [row.pixels[:12], row.label, original_path(row.path)]
            for n, row in zip(wanted, rows.itertuples(index=False), strict=True)
        }
    if found.images is not None:
        large = thumbnails(found.images, keys, LARGE)
        small = [] if like is None else rows["pixels"].tolist()
        told["thumbs"] = {key[:12]: uri for key, uri in large.items()}
        told["small"] = {
            key[:12]: uri for key, uri in thumbnails(found.images, small, SMALL).items()
        }
    for model, entry in zip(models, given_models, strict=True):
        entry["p"] = _packed(model.probabilities[numbers].astype("float32"))
        entry["maps"] = _maps(model, numbers)
    return told


def _answers(found: RunResults, model: Model) -> dict:
    """For two classes the second's probability for all test images, which the slider counts."""
    if len(found.classes) != 2:
        return {}
    return {"all": _packed(model.probabilities[:, 1].astype("float32"))}


def _chosen(models: list[Model], true: np.ndarray) -> np.ndarray:
    if len(true) <= MOST:
        return np.arange(len(true))
    each = [most_informative(true, model.probabilities, MOST // len(models)) for model in models]
    return np.unique(np.concatenate(each))


def _alike(found: RunResults, features, keys: list[str]):
    """The training rows, and for each of `keys` the numbers and cosines of its nearest."""
    if features is None:
        return None
    train = found.table[found.table["split"] == "train"].drop_duplicates("pixels")
    train = train.reset_index(drop=True)
    if train.empty:
        return None
    arrays: ArrayFolder = features[1]
    own, among = embeddings(arrays, keys), embeddings(arrays, train["pixels"].tolist())
    return train, *nearest_neighbors(own, among, NEIGHBOURS)


def _maps(model: Model, numbers: np.ndarray) -> dict | None:
    """Maps of one shape, one after the other, and the places of their images."""
    places = [place for place, n in enumerate(numbers.tolist()) if n in model.maps]
    if not places:
        return None
    maps = np.stack([model.maps[int(numbers[place])] for place in places])
    return {
        "places": places,
        "height": maps.shape[1],
        "width": maps.shape[2],
        "values": base64.b64encode(maps.tobytes()).decode(),
    }


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
