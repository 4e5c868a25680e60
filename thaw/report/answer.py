"""The answer of a run: the best model, how well it classifies, and what to try next."""

from dataclasses import dataclass

import numpy as np

from thaw.evaluation.selection import select_model
from thaw.report.audit import AuditSection, read_audit
from thaw.report.run_results import Features, Model, RunResults

MANY = 0.01  # share of the test images that are near-duplicates, from which accuracy is too high


@dataclass
class Answer:
    """The first statements of the page, which the command line prints too.

    Attributes:
        model: the best model by validation data.
        reason: a sentence that says how it was selected.
        compared: the number of models that were compared by validation data.
        baseline: the class with the most training images, and the test accuracy of always
            predicting it; None without a split.
        start: the model that a fine-tuned `model` started from, with its test accuracy, or None.
        near_duplicates: see `_near_duplicate_accuracy`.
        features: to compare images by.
        audit: of the current split, or None.
        next_step: a command to try next, and what it does.
    """

    model: Model
    reason: str
    compared: int
    baseline: tuple[str, float] | None
    start: tuple[str, float] | None
    near_duplicates: tuple[int, float, float, int] | None
    features: Features | None
    audit: AuditSection | None
    next_step: tuple[str, str]

    def lines(self) -> list[str]:
        """Return the answer as three lines of text: model, test accuracy and baseline."""
        details = self.model.details
        assert details is not None
        low, high = details["intervals_95"]["accuracy"]
        parts = []
        if self.baseline:
            parts.append(f"{_percent(self.baseline[1])} by always predicting {self.baseline[0]}")
        if self.start:
            parts.append(f"{_percent(self.start[1])} by {self.start[0]}, before fine-tuning")
        return [
            f"Best model:     {self.model.name}. {self.reason}",
            f"Test accuracy:  {_percent(self.model.metrics['accuracy'])} of "
            f"{details['counts']['test']:,} images "
            f"(95 % confidence interval: {_percent(low)} to {_percent(high)})",
            f"Baseline:       {'; '.join(parts) or 'not known without data/split.csv'}",
        ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def find_answer(results: RunResults) -> Answer:
    """Return the answer of a run.

    Args:
        results: of the project. An outdated audit is added to its `problems`.
    """
    lead, reason, compared = _leading_model(results)
    features = _features(results, lead)
    audit = read_audit(results, features and features[0])
    near = _near_duplicate_accuracy(results, lead, audit)
    return Answer(
        lead,
        reason,
        compared,
        _baseline(results),
        _start(results, lead),
        near,
        features,
        audit,
        _next_step(results, lead, near is not None and near[0] >= MANY * near[3]),
    )


def _leading_model(results: RunResults) -> tuple[Model, str, int]:
    """Return the model that is named first, a sentence that says why, and the number of
    models that were compared by validation data.

    It is the model that stage best selects, because choosing by test accuracy would make the test
    accuracy too good. Test accuracy decides only if a model has no validation accuracy.
    """
    models = results.evaluated
    if len(models) == 1:
        return models[0], "It is the only model with results.", 0
    selection = select_model([model.details for model in models if model.details])
    if selection["model"]:
        (best,) = [model for model in models if model.name == selection["model"]]
        reason = f"Selected by validation data: {selection['why']}. Test images had no part in it."
        return best, reason, len(models)
    best = max(models, key=lambda model: model.metrics["accuracy"])
    reason = (
        f"It has the highest test accuracy of {len(models)} models. Its accuracy is slightly "
        f"overestimated, because it was chosen by that: not every model has a validation accuracy."
    )
    return best, reason, 0


def _features(results: RunResults, lead: Model) -> Features | None:
    """Return the features to compare images by: those of the leading model, or the first."""
    for name in [lead.features, *(results.parameters.get("backbones") or {})]:
        if name and (arrays := results.up_to_date(f"data/features/{name}")) is not None:
            return name, arrays
    return None


def _baseline(results: RunResults) -> tuple[str, float] | None:
    """Return the class with the most training images, and the test accuracy of always saying it."""
    if results.table is None:
        return None
    train = results.table.loc[results.table["split"] == "train", "label"]
    test = results.table.loc[results.table["split"] == "test", "label"]
    if train.empty or test.empty:
        return None
    counts = train.value_counts()
    label = min(counts[counts == counts.max()].index)
    return label, float((test == label).mean())


def _near_duplicate_accuracy(
    results: RunResults, lead: Model, audit: AuditSection | None
) -> tuple[int, float, float, int] | None:
    """Compare a model's accuracy on near-duplicates of training or validation images and others.

    Returns:
        The number of test images that are near-duplicates, the accuracy on them, the accuracy on
        the others, and the number of test images. None if there are only images of one kind, or
        predictions or audit are missing.
    """
    if audit is None or lead.probabilities is None or results.table is None:
        return None
    test = results.table[results.table["split"] == "test"]
    true = test["label"].map(results.classes.index).to_numpy()
    correct = lead.probabilities.argmax(axis=1) == true
    threshold = audit.summary["settings"]["near_duplicate_similarity"]
    similarities = [audit.training_similarity.get(key, 0) for key in test["pixel_sha256"]]
    near = np.array(similarities) >= threshold
    if not 0 < near.sum() < len(near):
        return None
    return int(near.sum()), float(correct[near].mean()), float(correct[~near].mean()), len(near)


def _start(results: RunResults, lead: Model) -> tuple[str, float] | None:
    """Return the subnet that a fine-tuned model started from, and its test accuracy."""
    if lead.kind != "fine-tuning":
        return None
    subnet = results.parameters["finetunes"][lead.name]["subnet"]
    accuracies = {model.name: model.metrics["accuracy"] for model in results.evaluated}
    return (subnet, accuracies[subnet]) if subnet in accuracies else None


def _next_step(results: RunResults, lead: Model, near_duplicates: bool) -> tuple[str, str]:
    """Return a command to try next, and what it does.

    A test accuracy that near-duplicates make too high comes first, then a search for
    hyperparameters. After both, the model is there to be used.
    """
    split = results.parameters["dataset"]["split"]
    drawn = results.index is not None and not results.index["split"].any()
    if near_duplicates and drawn and split["group"] is None:
        command = "dvc exp run -S dataset.split.group=near_duplicates"
        return command, "keep near-duplicates in one split, for a test accuracy without them"
    subnets = results.parameters.get("subnets") or {}
    backbones = [*(results.parameters.get("backbones") or {})]
    if backbones and not any(subnet["kind"] == "tuned" for subnet in subnets.values()):
        if lead.kind == "fine-tuning":
            backbone = subnets[results.parameters["finetunes"][lead.name]["subnet"]]["features"]
        else:
            backbone = lead.features or backbones[0]
        command = f"dvc exp run -S +subnet@subnets.tuned=tuned -S subnets.tuned.features={backbone}"
        return command, "search the hyperparameters of a head by cross-validation"
    return "thaw predict PHOTOS", "classify images with the best model"
