"""Write the model card of an export: Markdown with the YAML header that Hugging Face reads."""

import contextlib
from pathlib import Path
from typing import Any

import jinja2
import yaml

from thaw.config.base import read_params
from thaw.errors import UserError
from thaw.export.data import ExportData
from thaw.export.example_code import PACKAGES, example_code
from thaw.export.licences import Licence, data_licence, weights_licence
from thaw.models.bundle import ModelBundle, read_json_object

TEMPLATE = Path(__file__).with_name("card.md")
LIBRARIES = {"onnx": "onnx", "openvino": "openvino", "savedmodel": "keras", "tflite": "tflite"}
FORMATS = {
    "onnx": "ONNX",
    "openvino": "OpenVINO IR, weights in `model.bin`",
    "savedmodel": "a TensorFlow SavedModel",
    "tflite": "TensorFlow Lite (LiteRT)",
}
FITS = {
    "stretch": "Pictures of other proportions are stretched.",
    "crop": "Of pictures of other proportions it reads the centre.",
    "pad": "Pictures of other proportions get black margins.",
}
LARGE_PICTURES = (
    " Thaw decodes pictures that are much larger at a fraction of their size first. Full decoding "
    "gives nearly the same probabilities."
)
LABELS = {  # where each format has the names of the classes
    "onnx": "the model's `metadata_props`, as the JSON list `classes`",
    "openvino": "the model's `rt_info`, as the JSON list `model_info/classes`",
    "savedmodel": "the model's assets",
    "tflite": "the model, which is also a zip archive",
}
# metrics that Hugging Face knows by these names
METRICS = ("accuracy", "f1", "precision", "recall", "roc_auc")


def render_card(
    bundle: ModelBundle,
    form: str,
    file: str,
    takes: str,
    data: ExportData,
    agreement: dict[str, Any],
) -> str:
    """Return the text of the model card.

    Args:
        bundle: the trained model.
        form: onnx, openvino, savedmodel or tflite.
        file: the name of the exported model, in the card's folder.
        takes: the name of its input: pictures or pixels.
        data: the images of the repository.
        agreement: the content of agreement.json.
    """
    root, name = bundle.path.resolve().parent.parent, bundle.path.resolve().name
    params = _section(root, "dataset")
    evaluation = _evaluation(root / "results" / "details" / f"{name}.json", bundle.settings)
    dataset = params.get("name") or (evaluation or {}).get("dataset") or "not stated"
    licence = data_licence(params.get("source") or {})
    precision = "int8" if agreement["int8"] else "float32"
    counts = data.counts()
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    height, width, channels = bundle.image.shape
    large = LARGE_PICTURES if bundle.image.resampling != "nearest" else ""
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        head=_head(bundle, name, form, dataset, licence, evaluation, precision),
        title=f"{name}: {' or '.join(bundle.classes)}"
        if len(bundle.classes) < 5
        else f"{name}: {len(bundle.classes)} classes",
        summary=f"An image classifier for {dataset}, trained with Keras by transfer learning and "
        f"exported to {FORMATS[form].split(',')[0]} in {precision}.",
        name=name,
        file=file,
        form=f"{FORMATS[form]}, {precision}",
        megabytes=f"{agreement['megabytes']['exported']:.1f}",
        input="`pictures`, uint8 RGB of any size, (batch, height, width, 3). The model resizes and "
        f"preprocesses them.{large}"
        if takes == "pictures"
        else f"`pixels`, uint8, (batch, {height}, {width}, {channels}). Resize pictures first, as "
        f"below. The model preprocesses them.{large}",
        classes=bundle.classes,
        labels=LABELS[form],
        needs=f"Run `pip install {PACKAGES[form]} pillow`, then run this script in this folder:",
        code=example_code(form, takes, bundle.image, bundle.classes),
        data={
            "name": dataset,
            "total": f"{sum(counts.values()):,}",
            "splits": ", ".join(
                f"{counts[split]:,} for {purpose}"
                for split, purpose in (
                    ("train", "training"),
                    ("validation", "validation"),
                    ("test", "testing"),
                )
                if split in counts
            ),
            "digest": data.rows.digest(),
        },
        image=bundle.image,
        size=f"{width} x {height}",
        fit=FITS[bundle.image.fit],
        evaluation=evaluation,
        intervals=(evaluation or {}).get("intervals_95", {}),
        agreement=agreement,
        limitations=_limitations(bundle, evaluation, agreement, takes),
        data_licence=licence.text,
        weights_licence=weights_licence(_backbone(bundle, root)),
    )


def _head(
    bundle: ModelBundle,
    name: str,
    form: str,
    dataset: str,
    licence: Licence,
    evaluation: dict[str, Any] | None,
    precision: str,
) -> str:
    """Return the YAML header, whose keys Hugging Face documents."""
    head: dict[str, Any] = {"license": licence.identifier}
    if licence.identifier == "other":
        head["license_name"] = "see-below"
    head |= {
        "library_name": LIBRARIES[form],
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "transfer-learning", form, precision],
        "datasets": [dataset],
        "metrics": ["accuracy"],
    }
    if evaluation:
        values = evaluation["metrics"]
        known = [metric for metric in METRICS if values.get(metric) is not None]
        head["metrics"] = known
        result = {
            "task": {"type": "image-classification", "name": "Image Classification"},
            "dataset": {"type": dataset, "name": dataset, "split": "test"},
            "metrics": [
                {"type": metric, "name": metric, "value": round(float(values[metric]), 5)}
                for metric in known
            ],
        }
        head["model-index"] = [{"name": name, "results": [result]}]
    return str(yaml.safe_dump(head, sort_keys=False, allow_unicode=True))


def _limitations(
    bundle: ModelBundle, evaluation: dict[str, Any] | None, agreement: dict[str, Any], takes: str
) -> list[str]:
    """Return the model's known limitations, one sentence or two each."""
    limitations = []
    if evaluation:
        low, high = evaluation["intervals_95"]["accuracy"]
        limitations.append(
            f"The accuracy is measured on {evaluation['counts']['test']:,} test images, with an "
            f"uncertainty of {100 * (high - low) / 2:.1f} percentage points."
        )
        classes = {k: each for k, each in evaluation["per_class"].items() if each["count"]}
        worst = min(classes, key=lambda name: classes[name]["recall"])
        limitations.append(
            f"The class with the lowest recall is {worst} ({classes[worst]['recall']:.1%})."
        )
        if groups := evaluation.get("per_group"):
            worst = min(groups, key=lambda name: groups[name]["accuracy"])
            limitations.append(
                f"The group with the lowest accuracy is {worst} ({groups[worst]['accuracy']:.1%})."
            )
        if "ece" in evaluation["metrics"]:
            limitations.append(
                f"Its probabilities are off by {evaluation['metrics']['ece']:.3f} on average "
                f"(expected calibration error)."
            )
    else:
        limitations.append("Its accuracy on test images was not measured.")
    height, width, channels = bundle.image.shape
    colour = "colour" if channels == 3 else "grey"
    limitations.append(
        f"It reads {width} x {height} pixels in {colour}, whatever the picture's resolution. "
        f"{FITS[bundle.image.fit]}"
    )
    if takes == "pixels":
        limitations.append(
            "Resizing in another way than in the script above changes the probabilities."
        )
    if agreement["int8"]:
        limitations.append("The evaluation is of the trained model, before its export to int8.")
    return limitations


def _backbone(bundle: ModelBundle, root: Path) -> dict[str, Any] | None:
    """Return the section of the backbone whose pretrained weights the model starts from."""
    if bundle.backbone:
        return bundle.backbone.model_dump()
    name = bundle.settings.get("features")
    if not name:
        return None
    return _section(root, "backbones").get(name) or {"application": name, "weights": "imagenet"}


def _section(root: Path, key: str) -> dict[str, Any]:
    """Return a section of params.yaml, or {} if there is none."""
    with contextlib.suppress(UserError):
        return read_params(key, file=root / "params.yaml") or {}
    return {}


def _evaluation(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the evaluation of a model with these settings.

    Return None if there is none, or if it is of an earlier training with other settings.
    """
    if not path.exists():
        return None
    evaluation = read_json_object(path, lambda: path.read_bytes())
    return evaluation if evaluation.get("settings") == settings else None
