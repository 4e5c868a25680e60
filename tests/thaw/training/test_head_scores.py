"""Heads are cross-validated on training images as their training would do it."""

import numpy as np
import pandas as pd
import pytest

from tests.fixtures.training import TRAINING
from thaw.config.subnet import validate_subnet
from thaw.errors import UserError
from thaw.models.layers import to_probabilities
from thaw.models.subnet import build_subnet
from thaw.training.batches import batches
from thaw.training.fit import fit
from thaw.training.head_scores import split_folds, stopping_rows
from thaw.training.head_training import HeadTrainer
from thaw.training.losses import LossTerms

HEAD = {
    **TRAINING,
    "kind": "dense",
    "features": "base",
    "pooling": "average",
    "units": [8],
    "dropout": 0.2,
    "l2": 1e-3,
    "output": "auto",
    "epochs": 12,
    "batch_size": 16,
    "keep": "best",
    "patience": 3,
    "class_weight": "balanced",
}


def sample(count: int = 90, classes: int = 2) -> tuple[pd.DataFrame, np.ndarray]:
    """Return training rows and features (count, 2, 2, 6) of overlapping classes."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 5 % classes
    features = random.normal(size=(count, 2, 2, 6)) + labels[:, None, None, None]
    rows = pd.DataFrame(
        {
            "pixel_sha256": [f"{n:064x}" for n in range(count)],
            "split_group": [f"{n:064x}" for n in range(count)],
            "label": [f"kind{n}" for n in labels],
            "class": labels,
            "confidence": random.uniform(0.2, 1, count),
        }
    )
    return rows, features.astype("float32")


def test_each_fold_has_every_class_and_a_group_shares_one():
    rows, _ = sample()
    rows["split_group"] = [f"{n // 3}" for n in range(90)]
    folds = split_folds(rows, 4, 0, "folds")
    assert sorted(np.concatenate([scored for _, scored in folds])) == list(range(90))
    for train, scored in folds:
        assert not set(rows["split_group"][train]) & set(rows["split_group"][scored])
        assert set(rows["class"][scored]) == {0, 1}
    again = split_folds(rows, 4, 0, "folds")
    assert all(np.array_equal(a, b) for a, b in zip(folds[0], again[0], strict=True))


def test_a_class_with_fewer_images_than_folds_is_named():
    rows, _ = sample(20, classes=5)
    with pytest.raises(UserError, match="search.folds = 6: the class 'kind0' has 4 different"):
        split_folds(rows, 6, 0, "search.folds")


def test_the_images_that_stop_a_training_are_a_tenth_of_those_it_may_see():
    rows, _ = sample()
    (train, scored), *_ = split_folds(rows, 3, 0, "folds")
    stopping = stopping_rows(rows, train, 0)
    assert 4 <= len(stopping) <= 9 and set(stopping) <= set(train)
    assert set(rows["class"][stopping]) == {0, 1}


@pytest.mark.parametrize(
    ("classes", "changes"),
    [
        (2, {}),
        (3, {"pooling": "flatten", "schedule": "cosine", "monitor": "accuracy"}),
        (2, {"keep": "last", "patience": None, "output": "softmax"}),
    ],
)
def test_a_fold_trains_as_the_stage_does(tmp_path, monkeypatch, store, afresh, classes, changes):
    monkeypatch.chdir(tmp_path)
    head = validate_subnet({**HEAD, **changes}, "mine")
    rows, features = sample(classes=classes)
    (train, scored), *_ = split_folds(rows, 3, 0, "folds")
    stopping = stopping_rows(rows, train, 0)
    learned = train if head.keep == "last" else np.setdiff1d(train, stopping)

    afresh()
    model = build_subnet(head, features.shape[1:], classes)
    terms = LossTerms(head)
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    sigmoid = model.output_shape[-1] == 1

    def of(numbers: np.ndarray, seed: int | None):
        part, values = rows.iloc[numbers].reset_index(drop=True), features[numbers]
        return batches(part, lambda n, _: values[n], head, seed, sigmoid)

    data = of(learned, 0), of(stopping, None)
    fit(model, trainer, *data, head, {"settings": {}, "test": str(changes)}, tmp_path / "model")
    expected = to_probabilities(model.predict(features[scored], verbose=0))

    inputs = features if head.pooling == "flatten" else features.mean(axis=(1, 2))
    folds = HeadTrainer(head, inputs, rows, classes, 0)
    folds.fold(
        scored, stopping[:0] if head.keep == "last" else scored[:9], train
    )  # leaves no trace
    found = folds.fold(train, stopping, scored)
    assert np.allclose(found, expected, atol=1e-4)
    assert np.array_equal(found, folds.fold(train, stopping, scored)), "the same bytes again"
