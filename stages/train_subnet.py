"""Stage train_subnet@S: a small network, or the baseline, trained on cached features."""

import json
from pathlib import Path

import numpy as np

from stages.command import whole
from stages.images.arrays import Arrays
from stages.params.backbone import Backbone
from stages.params.base import Common, load, one, read
from stages.params.dataset import Image
from stages.params.subnet import Dense, Logistic, subnet
from stages.training.record import Record
from stages.training.rows import Rows, weights


def main(name: str) -> None:
    """Write models/NAME: the model, record.json and DVCLive's learning curves."""
    parameters = subnet(read("subnets", name), name)
    rows, features = Rows(), Arrays(f"data/features/{parameters.features}")
    with whole(f"models/{name}") as folder:
        folder.mkdir()
        train = _logistic if isinstance(parameters, Logistic) else _dense
        record = train(parameters, rows, features, one(Common, "seed"), folder)
        record.classes = rows.classes
        record.image = load(Image, "dataset", "image").model_dump()
        backbone = load(Backbone, "backbones", parameters.features)
        recipe = json.loads(Path(f"data/features/{parameters.features}/recipe.json").read_text())
        of = {**backbone.model_dump(), "digest": recipe["weights"]}
        record.backbone = {"name": parameters.features, **of}
        (folder / "record.json").write_text(record.json())


def _dense(parameters: Dense, rows: Rows, features: Arrays, seed: int, folder: Path) -> Record:
    from stages.engine import repeatable
    from stages.networks.subnet import build
    from stages.training.batches import batches
    from stages.training.fit import fit
    from stages.training.saving import save_model
    from stages.training.terms import Terms

    repeatable(seed)
    model = build(parameters, features.shape, len(rows.classes))
    terms = Terms(parameters)
    trainer = terms.trainer(model.inputs, terms.outputs(model))
    sigmoid = model.output_shape[-1] == 1

    def some(split: str, seed: int | None):
        chosen = rows.of(split)
        selected = features.select(chosen["pixels"])
        return batches(
            chosen,
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
    train, validation = some("train", seed), some("validation", None)
    record = fit(model, trainer, train, validation, parameters, recipe, folder)
    save_model(model, folder / "model.keras")
    return record


def _logistic(
    parameters: Logistic, rows: Rows, features: Arrays, seed: int, folder: Path
) -> Record:
    from sklearn.metrics import accuracy_score, log_loss
    from threadpoolctl import threadpool_limits

    from stages.networks import logistic

    def some(split: str):
        chosen = rows.of(split)
        return chosen, logistic.pooled(features.select(chosen["pixels"]), parameters.pooling)

    train, inputs = some("train")
    weight = weights(train, parameters.class_weight, parameters.confidence_weight)
    with threadpool_limits(one(Common, "threads")):
        model = logistic.fit(
            inputs, train["class"].to_numpy(), weight, parameters.C, parameters.max_iter
        )
    logistic.save(model, folder / "model.npz")
    metrics = {}
    for split, prefix in (("train", ""), ("validation", "val_")):
        chosen, inputs = some(split)
        if len(chosen):
            p, true = logistic.predict(model, inputs), chosen["class"]
            metrics[f"{prefix}loss"] = float(log_loss(true, p, labels=range(p.shape[1])))
            metrics[f"{prefix}accuracy"] = float(accuracy_score(true, p.argmax(axis=1)))
    count = model["coefficients"].size + model["intercept"].size
    settings = {**parameters.model_dump(), "seed": seed}
    return Record(kept=1, epochs=1, settings=settings, parameters=count, history=[metrics])
