"""`thaw export`: convert a trained model for another runtime, check and describe it."""

import argparse
import sys
from pathlib import Path
from typing import Any

from thaw.cli.arguments import add_allow, fraction, integer
from thaw.cli.output import column_formatter
from thaw.errors import UserError
from thaw.export.agreement import Disagreement
from thaw.export.export import export
from thaw.models.bundle import model_or_best

DISAGREES = 5  # the exit code if the exported model's predictions differ too much
FORMATS = ("onnx", "openvino", "savedmodel", "tflite")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw export`."""
    parser.description = (
        "Write a folder with the model in another format, a model card, and a comparison of its "
        "predictions and speed with Keras on validation images. A model whose predictions differ "
        "too much is not written."
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a name in models/; default: the model that results/best.json names",
    )
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format")
    parser.add_argument("--int8", action="store_true", help="quantize to int8: smaller and faster")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="default: exports/MODEL-FORMAT, or exports/MODEL-FORMAT-int8",
    )
    for option, purpose in (
        ("--check", "images to compare predictions on"),
        ("--calibration", "training images to calibrate int8 with"),
    ):
        parser.add_argument(
            option,
            type=integer(1, 1_000_000),
            default=200,
            metavar="N",
            help=f"{purpose}; default: 200",
        )
    parser.add_argument(
        "--tolerance",
        type=fraction,
        metavar="T",
        help="the largest difference of a probability (default: 0.001); with --int8 the largest "
        "fraction of images whose class changes (default: 0.02)",
    )
    add_allow(parser)
    parser.set_defaults(
        run=lambda a: run(
            a.model, a.to, a.out, a.int8, a.check, a.calibration, a.tolerance, tuple(a.allow)
        )
    )


def run(
    model_name: str | None,
    form: str,
    out: str | None,
    int8: bool,
    check: int,
    calibration: int,
    tolerance: float | None,
    allowed: tuple[str, ...] = (),
) -> int:
    """Write a folder with a model in another format, its card and its agreement with Keras.

    Args:
        model_name: a name in models/, or a model's folder; None takes the best model and prints
            its name.
        form: onnx, openvino, savedmodel or tflite.
        out: the folder; None writes exports/NAME-FORMAT, or exports/NAME-FORMAT-int8.
        int8: whether to quantize.
        check: the largest number of images to compare predictions on.
        calibration: the number of training images to calibrate int8 with.
        tolerance: see thaw.export.agreement; None takes its default.
        allowed: classes that the model may contain besides Keras's own, see thaw.models.loading.

    Returns:
        The exit code: 0, or 5 if the predictions differ too much.

    Raises:
        UserError: there is no such model, a package or data that it needs is missing, or `out`
            has other files.
    """
    trained = model_or_best(model_name)
    if trained.packaged:
        raise UserError(
            f"{model_name} is packaged, without the data it was trained on: expected a name in "
            f"models/ or a model's folder."
        )
    place = Path(f"exports/{trained.name}-{form}{'-int8' if int8 else ''}" if out is None else out)
    try:
        agreement = export(trained, form, place, int8, check, calibration, tolerance, allowed)
    except Disagreement as disagreement:
        if disagreement.comparison:
            print(_table(disagreement.comparison), end="")
        print(f"thaw: {disagreement} Nothing was written.", file=sys.stderr)
        return DISAGREES
    height, width, _ = trained.image.shape
    inputs = (
        "uint8 RGB images of any size"
        if agreement["takes"] == "pictures"
        else f"uint8 pixels already resized to {width} x {height}"
    )
    print(_table(agreement), end="")
    print(f"{place}: from {inputs} to the probabilities of {', '.join(trained.classes)}")
    return 0


def _table(agreement: dict[str, Any]) -> str:
    """Return the accuracy, difference from the exported model, speed and size of each model."""
    headings = ["", "accuracy", "largest difference", "mean", "same class", "images/s", "MB"]
    rows = []
    for name, accuracy in agreement["accuracy"].items():
        difference = agreement["against"].get(name)
        cells = ["", "", ""]
        if difference:
            cells = [
                f"{difference['largest_difference']:.2g}",
                f"{difference['mean_difference']:.2g}",
                f"{difference['same_class']:.1%}",
            ]
        size = agreement["megabytes"]["trained" if difference else "exported"]
        speed = f"{agreement['images_per_second'][name]:.1f}"
        rows.append([name, f"{accuracy:.4f}", *cells, speed, f"{size:.1f}"])
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    line = column_formatter(headings, widths)
    data = "validation" if agreement["split"] == "validation" else "training"
    why = "" if data == "validation" else ", since there is no validation split"
    reference = next(iter(agreement["speed_up"]))
    lines = [
        line(*headings),
        *(line(*row) for row in rows),
        f"on {agreement['images']} {data} images{why}; {agreement['speed_up'][reference]:.2f} "
        f"times as fast as {reference}\n",
    ]
    return "".join(lines)
