"""The model card of an export, in the form that Hugging Face reads: Markdown below YAML."""

import contextlib
from pathlib import Path

import jinja2
import yaml

from thaw.config.base import read_params
from thaw.errors import UserError
from thaw.export import licences
from thaw.export.data import Data
from thaw.export.loading import NEEDS, code
from thaw.models.bundle import ModelBundle, read_json_object

TEMPLATE = Path(__file__).with_name("card.md")
LIBRARIES = {"onnx": "onnx", "openvino": "openvino", "savedmodel": "keras", "tflite": "tflite"}
FORMS = {
    "onnx": "ONNX",
    "openvino": "OpenVINO's IR, its weights in `model.bin`",
    "savedmodel": "a SavedModel of TensorFlow",
    "tflite": "TensorFlow Lite (LiteRT)",
}
RATES = ("accuracy", "f1", "precision", "recall", "roc_auc")
"""Metrics that Hugging Face knows by these names."""


def card(
    trained: ModelBundle, form: str, file: str, takes: str, data: Data, agreement: dict
) -> str:
    """The card's text.

    Args:
        form: onnx, openvino, savedmodel or tflite.
        file: the model's name beside the card.
        takes: pictures or pixels.
        agreement: what agreement.json says.
    """
    root, name = trained.path.resolve().parent.parent, trained.path.resolve().name
    dataset = _section(root, "dataset")
    evaluated = _evaluated(root / "results" / "details" / f"{name}.json", trained.settings)
    called = dataset.get("name") or (evaluated or {}).get("dataset") or "not stated"
    data_licence = licences.of_data(dataset.get("source") or {})
    precision = "int8" if agreement["int8"] else "float32"
    counts = data.counts()
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    size, channels = trained.image.size, 3 if trained.image.colour == "rgb" else 1
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        head=_head(trained, name, form, called, data_licence, evaluated, precision),
        title=f"{name}: {' or '.join(trained.classes)}"
        if len(trained.classes) < 5
        else f"{name}: {len(trained.classes)} classes",
        summary=f"An image classifier of {called} by transfer learning, trained with Keras and "
        f"exported to {FORMS[form].split(',')[0]} in {precision}.",
        name=name,
        file=file,
        form=f"{FORMS[form]}, {precision}",
        megabytes=f"{agreement['megabytes']['exported']:.1f}",
        takes_said="`pictures`, uint8 RGB of any size, (batch, height, width, 3); resizing and "
        "preprocessing are inside."
        if takes == "pictures"
        else f"`pixels`, uint8, (batch, {size}, {size}, {channels}); the picture has to be resized "
        f"first, as below, and preprocessing is inside.",
        classes=trained.classes,
        needs=f"With `pip install {NEEDS[form]} pillow`, beside these files:",
        code=code(form, takes, trained.image, trained.classes),
        data={
            "name": called,
            "total": f"{sum(counts.values()):,}",
            "splits": ", ".join(
                f"{counts[split]:,} {what}"
                for split, what in (
                    ("train", "to train on"),
                    ("validation", "to choose by (validation)"),
                    ("test", "to test"),
                )
                if split in counts
            ),
            "digest": data.rows.digest(),
        },
        image=trained.image,
        evaluated=evaluated,
        intervals=(evaluated or {}).get("intervals_95", {}),
        agreement=agreement,
        limits=_limits(trained, evaluated, agreement, takes),
        data_licence=data_licence.said,
        weights_licence=licences.of_weights(_backbone(trained, root)),
    )


def _head(trained, name, form, called, licence, evaluated, precision) -> str:
    """The YAML, whose keys Hugging Face documents."""
    head = {"license": licence.identifier}
    if licence.identifier == "other":
        head["license_name"] = "see-below"
    head |= {
        "library_name": LIBRARIES[form],
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "transfer-learning", form, precision],
        "datasets": [called],
        "metrics": ["accuracy"],
    }
    if evaluated:
        held = evaluated["metrics"]
        known = [metric for metric in RATES if held.get(metric) is not None]
        head["metrics"] = known
        result = {
            "task": {"type": "image-classification", "name": "Image Classification"},
            "dataset": {"type": called, "name": called, "split": "test"},
            "metrics": [
                {"type": metric, "name": metric, "value": round(float(held[metric]), 5)}
                for metric in known
            ],
        }
        head["model-index"] = [{"name": name, "results": [result]}]
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def _limits(trained: ModelBundle, evaluated: dict | None, agreement: dict, takes: str) -> list[str]:
    """What is known to limit it, each a sentence."""
    said = []
    if evaluated:
        low, high = evaluated["intervals_95"]["accuracy"]
        said.append(
            f"{evaluated['counts']['test']:,} test images tell its accuracy to within "
            f"{100 * (high - low) / 2:.1f} points."
        )
        classes = {k: each for k, each in evaluated["per_class"].items() if each["count"]}
        worst = min(classes, key=lambda each: classes[each]["recall"])
        said.append(
            f"Its weakest class is {worst}, of which it finds {classes[worst]['recall']:.1%}."
        )
        if groups := evaluated.get("per_group"):
            worst = min(groups, key=lambda each: groups[each]["accuracy"])
            said.append(
                f"Its weakest group is {worst}, with {groups[worst]['accuracy']:.1%} right."
            )
        if "ece" in evaluated["metrics"]:
            said.append(
                f"Its probabilities are off by {evaluated['metrics']['ece']:.3f} on average "
                f"(expected calibration error)."
            )
    else:
        said.append("How often it is right was not measured.")
    size, colour = trained.image.size, "colour" if trained.image.colour == "rgb" else "grey"
    said.append(
        f"It sees {size} x {size} pixels in {colour}, whatever the picture had; what is not square "
        f"is stretched."
    )
    if takes == "pixels":
        said.append(
            "Other ways of resizing than the one above give other pixels, and other probabilities."
        )
    if agreement["int8"]:
        said.append("The figures of the evaluation are of the model before it became int8.")
    return said


def _backbone(trained: ModelBundle, root: Path) -> dict | None:
    """Whose pretrained weights it starts from."""
    if trained.backbone:
        return trained.backbone.model_dump()
    name = trained.settings.get("features")
    if not name:
        return None
    return _section(root, "backbones").get(name) or {"application": name, "weights": "imagenet"}


def _section(root: Path, key: str) -> dict:
    """A section of params.yaml, empty where there is none."""
    with contextlib.suppress(UserError):
        return read_params(key, file=root / "params.yaml") or {}
    return {}


def _evaluated(path: Path, settings: dict) -> dict | None:
    """What the stages of evaluation found of a model with these settings; none where they have not
    run since it was trained so."""
    if not path.exists():
        return None
    found = read_json_object(path, lambda: path.read_bytes())
    return found if found.get("settings") == settings else None
