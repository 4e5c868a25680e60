"""Select the best model by validation data, and write the ranking as results/best.json."""

import json
import math
from pathlib import Path
from typing import Any

from thaw.storage.dvc import verify_outputs
from thaw.storage.files import atomic_write
from thaw.storage.npz import load_npz

BEST = "results/best.json"
DIGITS = 5  # decimals of the figures in the file, as in results/metrics/


def inference_cost(record: dict[str, Any]) -> int:
    """Return what a prediction for one image costs: the parameters it uses times averaged views.

    It orders models of one kind by their arithmetic, and is the same on every machine. It is a
    rough measure between kinds: a convolution uses each parameter at many positions.

    Args:
        record: the content of record.json. A subnet also needs its backbone, whose parameters are
            counted in data/weights/.
    """
    parameters = int(record["parameters"])
    if backbone := record.get("backbone"):
        weights = f"data/weights/{backbone['name']}.npz"
        verify_outputs(weights)
        parameters += sum(values.size for values in load_npz(weights).values())
    views = 1
    if record["settings"].get("test_time_augmentation"):
        augmentation = record["settings"]["augmentation"]
        views = 2 ** (augmentation["horizontal_flip"] + augmentation["vertical_flip"])
    return parameters * views


def select_model(details: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the best model, the reason, and all models in order.

    The model with the highest validation accuracy is the best. Of equal accuracies, the lower cost
    decides, then the lower log loss, then the name. Only exact ties go to the cheaper model:
    standard errors are larger than the differences between good models, so "within one standard
    error" would nearly always select the cheapest one. They also overstate the uncertainty, because
    all models are compared on the same images. The ranking contains them, to judge by.

    Args:
        details: content of results/validation/NAME.json, or of results/details/NAME.json, of each
            model.

    Returns:
        `model`, the name, or None if there are several models and no validation data; `why`, a
        phrase; and `ranking`, figures of each model, the best first. It is empty without
        validation data.
    """
    measured = [each for each in details if each.get("validation")]
    if len(measured) < len(details) or not details:
        only = details[0]["model"] if len(details) == 1 else None
        why = "there are no models" if not details else "there is no validation data to choose by"
        return {"model": only, "why": "the only model" if only else why, "ranking": []}
    order = sorted(measured, key=_rank)
    return {
        "model": order[0]["model"],
        "why": _reason(order),
        "ranking": [_figures(each) for each in order],
    }


def write_best(models: list[str]) -> None:
    """Write results/best.json from results/validation/ of the given models, and print it."""
    files = [Path(f"results/validation/{name}.json") for name in models]
    verify_outputs(*files)
    details = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    best = select_model(details)
    with atomic_write(BEST) as part:
        part.write_text(json.dumps(best, indent=1) + "\n")
    print(f"best model: {best['model'] or 'none'}, {best['why']}")


def _rank(details: dict[str, Any]) -> tuple[float, int, float, str]:
    measured = details["validation"]
    return -measured["accuracy"], details["cost"], measured["log_loss"], details["model"]


def _reason(order: list[dict[str, Any]]) -> str:
    best, measured = order[0], order[0]["validation"]
    accuracy = f"{100 * measured['accuracy']:.1f} % of {measured['count']:,} images"
    if len(order) == 1:
        return f"the only model, validation accuracy {accuracy}"
    reason = f"highest validation accuracy of {len(order)} models, {accuracy}"
    second = order[1]
    if second["validation"]["accuracy"] < measured["accuracy"]:
        return reason
    worse = "costs more" if second["cost"] > best["cost"] else "has no lower log loss"
    return f"{reason}; {second['model']} has the same accuracy and {worse}"


def _figures(details: dict[str, Any]) -> dict[str, Any]:
    accuracy, count = (details["validation"][key] for key in ("accuracy", "count"))
    return {
        "model": details["model"],
        "validation_accuracy": round(accuracy, DIGITS),
        "standard_error": round(math.sqrt(accuracy * (1 - accuracy) / count), DIGITS),
        "validation_log_loss": round(details["validation"]["log_loss"], DIGITS),
        "validation_images": count,
        "cost": details["cost"],
    }
