"""Train a subnet on cached features: a dense head with Keras, or a logistic regression."""

from pathlib import Path

import numpy as np
import pandas as pd

from thaw.config.base import Common, read_value
from thaw.config.subnet import Dense, Logistic
from thaw.data.split_table import SplitTable, sample_weights
from thaw.models import logistic
from thaw.storage.arrays import ArrayFolder
from thaw.training.record import Record


def train_dense(
    parameters: Dense, rows: SplitTable, features: ArrayFolder, seed: int, folder: Path
) -> Record:
    """Train a dense head and save it as model.keras.

    TensorFlow is imported here, so that a logistic regression starts without it.

    Args:
        parameters: of the subnet.
        rows: the split.
        features: of the subnet's backbone.
        seed: for initial weights, order and dropout.
        folder: the model's folder.

    Returns:
        The record of the training.

    Raises:
        UserError: the loss is not finite, or the parameters do not fit together.
    """
    from thaw.models.saving import save_model
    from thaw.models.subnet import build_subnet
    from thaw.runtime.tensorflow import make_deterministic
    from thaw.training.batches import Batches, batches
    from thaw.training.fit import fit
    from thaw.training.losses import LossTerms

    make_deterministic(seed)
    model = build_subnet(parameters, features.shape, len(rows.classes))
    terms = LossTerms(parameters)
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    sigmoid = model.output_shape[-1] == 1

    def batches_of(split: str, seed: int | None) -> Batches | None:
        split_rows = rows.of(split)
        selected = features.select(split_rows["pixel_sha256"])
        return batches(
            split_rows,
            lambda n, random: np.asarray(selected[n], "float32"),
            parameters,
            seed,
            sigmoid,
        )

    recipe = {
        "settings": {**parameters.model_dump(), "seed": seed},
        "data": rows.digest(),
        "features": features.digest(),
        "losses": terms.digest,
    }
    train, validation = batches_of("train", seed), batches_of("validation", None)
    record = fit(model, trainer, train, validation, parameters, recipe, folder)  # type: ignore[arg-type]
    save_model(model, folder / "model.keras")
    return record


def train_logistic(
    parameters: Logistic, rows: SplitTable, features: ArrayFolder, seed: int, folder: Path
) -> Record:
    """Fit a logistic regression and save it as model.npz.

    Args:
        parameters: of the subnet.
        rows: the split.
        features: of the subnet's backbone.
        seed: for the record only: the fit is not random.
        folder: the model's folder.

    Returns:
        The record of the training, with one epoch.
    """
    from sklearn.metrics import accuracy_score, log_loss
    from threadpoolctl import threadpool_limits

    def read(split: str) -> tuple[pd.DataFrame, np.ndarray]:
        split_rows = rows.of(split)
        selected = features.select(split_rows["pixel_sha256"])
        return split_rows, logistic.pooled(selected, parameters.pooling)

    train, inputs = read("train")
    weight = sample_weights(train, parameters.class_weight)
    with threadpool_limits(read_value(Common, "threads")):
        model = logistic.fit(
            inputs, train["class"].to_numpy(), weight, parameters.C, parameters.max_iter
        )
    logistic.save(model, folder / "model.npz")
    metrics = {}
    for split, prefix in (("train", ""), ("validation", "val_")):
        split_rows, inputs = read(split)
        if len(split_rows):
            p, true = logistic.predict(model, inputs), split_rows["class"]
            metrics[f"{prefix}loss"] = float(log_loss(true, p, labels=range(p.shape[1])))
            metrics[f"{prefix}accuracy"] = float(accuracy_score(true, p.argmax(axis=1)))
    count = model["coefficients"].size + model["intercept"].size
    settings = {**parameters.model_dump(), "seed": seed}
    return Record(kept=1, epochs=1, settings=settings, parameters=count, history=[metrics])
