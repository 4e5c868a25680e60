"""`thaw export`: a trained model for another runtime, checked and described."""

import sys
from pathlib import Path

from thaw.cli.output import column_formatter
from thaw.errors import UserError
from thaw.export.agreement import Disagreement
from thaw.export.export import export
from thaw.models.bundle import find_model

DISAGREES = 5
"""The exit code where the exported model does not say what the trained one says."""


def run(
    given: str,
    form: str,
    out: str | None,
    int8: bool,
    check: int,
    calibration: int,
    tolerance: float | None,
    allowed: tuple[str, ...] = (),
) -> int:
    """Write a model of models/ as a folder with the model, its card and how it agrees; give the
    exit code.

    Args:
        given: a name in models/, or a model's folder.
        form: onnx, openvino, savedmodel or tflite.
        out: the folder; none: exports/NAME-FORMAT, with -int8 where that is so.
        check: at most so many images are compared.
        calibration: so many training images give int8 its scales.
        tolerance: what is tolerated, see thaw.export.agreement; none: its default.

    Raises:
        UserError: there is no such model, something it needs is not there, or `out` is taken.
    """
    trained = find_model(given)
    if trained.packaged:
        raise UserError(
            f"{given} is packaged, and what it was trained on is not with it: expected a name in "
            f"models/ or a model's folder."
        )
    name = trained.path.resolve().name
    place = Path(f"exports/{name}-{form}{'-int8' if int8 else ''}" if out is None else out)
    try:
        found = export(trained, form, place, int8, check, calibration, tolerance, allowed)
    except Disagreement as disagreement:
        if disagreement.found:
            print(_table(disagreement.found), end="")
        print(f"thaw: {disagreement} Nothing was written.", file=sys.stderr)
        return DISAGREES
    what = (
        "uint8 RGB pictures of any size"
        if found["takes"] == "pictures"
        else f"uint8 pixels already resized to {trained.image.size} x {trained.image.size}"
    )
    print(_table(found), end="")
    print(f"{place}: from {what} to the probabilities of {', '.join(trained.classes)}")
    return 0


def _table(found: dict) -> str:
    """Each model in a line: right answers, how the exported one differs from it, speed, size."""
    headings = ["", "accuracy", "largest difference", "mean", "same class", "images/s", "MB"]
    rows = []
    for name, accuracy in found["accuracy"].items():
        apart = found["against"].get(name)
        differs = ["", "", ""]
        if apart:
            differs = [
                f"{apart['largest_difference']:.2g}",
                f"{apart['mean_difference']:.2g}",
                f"{apart['same_class']:.1%}",
            ]
        size = found["megabytes"]["trained" if apart else "exported"]
        speed = f"{found['images_per_second'][name]:.1f}"
        rows.append([name, f"{accuracy:.4f}", *differs, speed, f"{size:.1f}"])
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    line = column_formatter(headings, widths)
    data = "validation" if found["split"] == "validation" else "training"
    why = "" if data == "validation" else ", since there is no validation split"
    first = next(iter(found["speed_up"]))
    said = [
        line(*headings),
        *(line(*row) for row in rows),
        f"on {found['images']} {data} images{why}; {found['speed_up'][first]:.2f} times as fast as "
        f"{first}\n",
    ]
    return "".join(said)
