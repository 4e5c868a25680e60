"""`thaw predict`: classify images with a trained model."""

import argparse
import csv
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thaw.cli.arguments import add_allow, open_fraction
from thaw.cli.output import column_formatter, output_writer, report_unreadable, stream_predictions
from thaw.data import pictures
from thaw.data.archives import is_archive
from thaw.data.formats import IMAGES
from thaw.data.pictures import Picture
from thaw.errors import UserError
from thaw.models.bundle import model_folder, model_or_best

FORMS = {".csv": "csv", ".json": "json", ".jsonl": "json"}  # the default by the name of --out

Formatter = Callable[[Picture, np.ndarray | None], str]  # a line, from probabilities (classes,)
Chooser = Callable[[np.ndarray], int]  # the index of the class, from probabilities (classes,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw predict`."""
    parser.description = "Classify images with a model that the pipeline trained."
    parser.usage = "thaw predict [options] [MODEL] IMAGE_OR_FOLDER [IMAGE_OR_FOLDER ...]"
    parser.add_argument(
        "arguments",
        nargs="+",
        metavar="[MODEL] IMAGE_OR_FOLDER",
        help="the first is the model if it is a name in models/ or a packaged .keras; default: "
        "the model that results/best.json names",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="the model, if its name is also that of an image or folder to classify",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--csv", dest="form", action="store_const", const="csv", help="write a CSV table"
    )
    form.add_argument(
        "--json",
        dest="form",
        action="store_const",
        const="json",
        help="write one JSON object per line",
    )
    parser.add_argument("--out", metavar="FILE", help="default: the terminal")
    parser.add_argument(
        "--threshold",
        type=open_fraction,
        metavar="T",
        help="for two classes: predict the second (positive) class if its probability is T or "
        "more; default: the class with the higher probability. Choose T on validation data; the "
        "report's slider shows its effect",
    )
    add_allow(parser)
    parser.set_defaults(run=lambda parsed: _run(parsed, parser))


def _run(parsed: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    model, images = parsed.model, parsed.arguments
    if model is None and _is_model(images[0], alone=len(images) == 1):
        model, *images = images
    if not images:
        parser.error(f"{model} is a model: the following arguments are required: IMAGE_OR_FOLDER")
    return predict(model, images, parsed.form, parsed.out, tuple(parsed.allow), parsed.threshold)


def _is_model(argument: str, alone: bool) -> bool:
    """Return whether the first argument is meant as a model. What does not exist is taken for a
    misspelled model if images follow it and its name is not an image's.
    """
    if model_folder(argument):
        return True
    if os.path.exists(argument):
        path = Path(argument)
        packaged = path.suffix == ".keras" or (zipfile.is_zipfile(path) and not is_archive(path))
        return path.is_file() and (packaged or path.with_name("record.json").exists())
    return not alone and not argument.lower().endswith(IMAGES)


def predict(
    model: str | None,
    images: list[str],
    form: str | None,
    out: str | None,
    allowed: tuple[str, ...] = (),
    threshold: float | None = None,
) -> int:
    """Write the file, class and probability of every image.

    Args:
        model: a name in models/, a model's folder, or a packaged .keras file; None takes the best
            model and prints its name.
        images: images, and folders of images.
        form: csv or json (one object per line); None takes it from the name of `out`, else writes
            a table.
        out: a file; None writes to the standard output.
        allowed: classes that the model may contain besides Keras's own, see thaw.models.loading.
        threshold: for two classes, the second is predicted if its probability is at least this;
            None predicts the class with the higher probability.

    Returns:
        The exit code: 0, or 3 if files could not be read.

    Raises:
        UserError: there is no such model or path, a folder has no images, or `threshold` is set
            for a model that has not two classes.
    """
    trained = model_or_best(model)
    files = pictures.find_pictures(images)
    if threshold is not None and len(trained.classes) != 2:
        raise UserError(
            f"--threshold {threshold:g}: expected a model of two classes, and {trained.name} has "
            f"{len(trained.classes)}."
        )
    if out == "":  # an empty path is the current folder
        raise UserError("--out '': expected the name of a file.")
    if out and os.path.isdir(out):
        raise UserError(f"--out {out}: expected a file, and it is a folder.")
    if out and os.path.realpath(out) in map(os.path.realpath, files):
        raise UserError(f"--out {out}: expected another file than the pictures.")
    form = form or FORMS.get(Path(out or "").suffix.lower(), "table")

    def choose(p: np.ndarray) -> int:
        return int(p.argmax() if threshold is None else p[1] >= threshold)

    writer = {"csv": _csv, "json": _json, "table": _table}[form]
    header, format_line = writer(trained.classes, files, choose)
    network, unreadable = trained.load(allowed), 0
    with output_writer(out) as write:
        write(header)
        for batch in stream_predictions(network, files, trained.image, trained.batch_size):
            unreadable += sum(picture.problem is not None for picture, _ in batch)
            write("".join(format_line(picture, p) for picture, p in batch))
    return report_unreadable(unreadable, len(files))


def _table(classes: list[str], files: list[str], choose: Chooser) -> tuple[str, Formatter]:
    widths = [min(60, max(map(len, files))), max(map(len, classes)), 0]
    headings = ["file", "class", "probability"]
    line = column_formatter(headings, widths)

    def row(picture: Picture, p: np.ndarray | None) -> str:
        if p is None:
            return ""
        return line(picture.file, classes[choose(p)], f"{p[choose(p)]:.4f}")

    return line(*headings), row


def _csv(classes: list[str], _: list[str], choose: Chooser) -> tuple[str, Formatter]:
    def line(cells: list[str | None]) -> str:
        text = io.StringIO()
        csv.writer(text).writerow(cells)  # its default line end makes it quote names with \r
        return text.getvalue().removesuffix("\r\n") + "\n"

    def row(picture: Picture, p: np.ndarray | None) -> str:
        if p is None:
            return line([picture.file, "", "", *[""] * len(classes), picture.problem])
        values = [f"{value:.6f}" for value in p]
        return line([picture.file, classes[choose(p)], values[choose(p)], *values, ""])

    columns = [f"probability of {name}" for name in classes]
    return line(["file", "class", "probability", *columns, "error"]), row


def _json(classes: list[str], _: list[str], choose: Chooser) -> tuple[str, Formatter]:
    def row(picture: Picture, p: np.ndarray | None) -> str:
        if p is None:
            return json.dumps({"file": picture.file, "error": picture.problem}) + "\n"
        values = {name: round(float(value), 6) for name, value in zip(classes, p, strict=True)}
        name = classes[choose(p)]
        prediction = {"class": name, "probability": values[name], "probabilities": values}
        return json.dumps({"file": picture.file, **prediction}) + "\n"

    return "", row
