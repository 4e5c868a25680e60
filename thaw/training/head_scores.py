"""Cross-validate heads on the cached features of training images, fast enough for a search."""

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, log_loss

from thaw.config.base import Common, read_value
from thaw.config.subnet import Dense, Pooling, Tuned, validate_head
from thaw.data.folds import GroupFolds
from thaw.data.split_table import sample_weights
from thaw.errors import UserError
from thaw.models import logistic
from thaw.storage.arrays import ArrayFolder
from thaw.storage.store import CachedValue, code_digest
from thaw.storage.tables import SPLIT_GROUP

STOPPING_SHARE = 0.1  # of a fold's training images, which decide the epoch that a head keeps


def split_folds(
    rows: pd.DataFrame, count: int, seed: int, key: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split training images into folds, stratified by class. Images of a group share a fold.

    Args:
        rows: training rows of the split, indexed from 0, with the column split_group.
        count: number of folds.
        seed: of the random order.
        key: the parameter that sets `count`, for messages.

    Returns:
        For each fold, the row numbers to train on and those to score.

    Raises:
        UserError: a class has fewer groups or different images than there are folds.
    """
    different = rows.groupby("label")[SPLIT_GROUP].nunique()
    if len(different) < 2 or different.min() < count:
        label = different.idxmin() if len(different) else ""
        raise UserError(
            f"{key} = {count}: the class {label!r} has {different.min() if len(different) else 0} "
            f"different training images or groups of them. Expected two classes with at least as "
            f"many as folds."
        )
    folds = GroupFolds(count, shuffle=True, random_state=seed)
    return list(folds.split(rows, rows["class"], rows[SPLIT_GROUP]))


def stopping_rows(rows: pd.DataFrame, train: np.ndarray, seed: int) -> np.ndarray:
    """Return those of the row numbers `train` that decide when a training stops.

    They are a share of the different images or groups of each class, so that the images that score
    a head have no part in its training.
    """
    shuffled = rows.iloc[np.random.default_rng(seed).permutation(train)]
    keys: list[str] = []
    for _, of_class in shuffled.drop_duplicates(SPLIT_GROUP).groupby("class"):
        count = max(int(STOPPING_SHARE * len(of_class)), int(len(of_class) > 1))
        keys += of_class[SPLIT_GROUP].iloc[:count].tolist()
    return train[rows[SPLIT_GROUP].iloc[train].isin(keys).to_numpy()]


class HeadScores:
    """Cross-validated scores of heads. Each score is kept in the store, so a search resumes.

    Args:
        tuned: the search.
        name: of the subnet, for messages.
        rows: the training rows of the split. No other rows are read.
        features: of the search's backbone.
        classes: number of classes.
        seed: of folds, initial weights, order and dropout.
    """

    def __init__(
        self,
        tuned: Tuned,
        name: str,
        rows: pd.DataFrame,
        features: ArrayFolder,
        classes: int,
        seed: int,
    ) -> None:
        self.rows, self.classes, self.seed, self.name = rows, classes, seed, name
        self.labels = rows["class"].to_numpy(np.int64)
        self.folds = split_folds(rows, tuned.search.folds, seed, f"subnets.{name}.search.folds")
        self._features = features.select(rows["pixel_sha256"])
        packages = ["numpy", "scipy", "scikit-learn"]
        if any(head["kind"] == "dense" for head in tuned.heads.values()):
            import thaw.training.head_training  # noqa: F401 - starts TensorFlow, and is hashed below

            packages.append("keras")
        self.threads = read_value(Common, "threads")
        columns = rows[["pixel_sha256", "class", "confidence", SPLIT_GROUP]].to_csv(index=False)
        self.recipe = {
            "seed": seed,
            "folds": tuned.search.folds,
            "rows": hashlib.sha256(columns.encode()).hexdigest(),
            "threads": self.threads or os.cpu_count(),
            "code": code_digest(),
            "versions": {package: version(package) for package in packages},
        }

    def __call__(self, parameters: dict[str, Any]) -> Iterator[tuple[float, float]]:
        """Yield the log loss and the accuracy of each fold.

        Args:
            parameters: of the head, as in params.yaml.
        """
        head = validate_head(parameters, "subnets", self.name)
        inputs, digest = self._inputs(head.pooling)
        recipe = {**self.recipe, "head": head.model_dump(), "inputs": digest}
        trainer = None
        for number, (train, scored) in enumerate(self.folds):
            text = json.dumps({**recipe, "fold": number}, sort_keys=True)
            cached = CachedValue("search", text)
            score = cached.read()
            if not _is_score(score):
                if isinstance(head, Dense):
                    trainer = trainer or self._trainer(head, inputs)
                    stopping = stopping_rows(self.rows, train, self.seed)
                    probabilities = trainer.fold(train, stopping, scored)
                else:
                    weight = sample_weights(self.rows.iloc[train], head.class_weight)
                    with _threads(self.threads):
                        model = logistic.fit(
                            inputs[train], self.labels[train], weight, head.C, head.max_iter
                        )
                        probabilities = logistic.predict(model, inputs[scored])
                score = self._score(probabilities, self.labels[scored])
                cached.write(score)
            yield score[0], score[1]

    def _trainer(self, head: Dense, inputs: np.ndarray) -> Any:
        from thaw.training.head_training import HeadTrainer

        return HeadTrainer(head, inputs, self.rows, self.classes, self.seed)

    def _score(self, probabilities: np.ndarray, true: np.ndarray) -> list[float]:
        if not np.isfinite(probabilities).all():
            return [float("nan"), 0.0]
        loss = log_loss(true, probabilities, labels=range(self.classes))
        return [float(loss), float(accuracy_score(true, probabilities.argmax(axis=1)))]

    @functools.cache  # noqa: B019 - the object lives as long as the search
    def _inputs(self, pooling: Pooling | Literal["flatten"]) -> tuple[np.ndarray, str]:
        """Return the training images' features, pooled once for all heads, and their SHA-256.

        Returns:
            (n, channels) or (n, 2 * channels), float64, or with "flatten" (n, height, width,
            channels), float32.
        """
        if pooling == "flatten":
            inputs = np.asarray(self._features[:], "float32")
        else:
            inputs = logistic.pooled(self._features, pooling)
        return inputs, hashlib.sha256(np.ascontiguousarray(inputs).data).hexdigest()


def _is_score(value: Any) -> bool:
    """Return whether a cached value is a score; a damaged file is computed again."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(number, float) for number in value)
    )


def _threads(count: int | None) -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(count)
