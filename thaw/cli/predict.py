"""`thaw predict`: the classes of new pictures, by a model that the pipeline trained."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thaw.cli.output import column_formatter, output_writer, report_unreadable, stream_predictions
from thaw.data import pictures
from thaw.data.pictures import Picture
from thaw.errors import UserError
from thaw.models.bundle import find_model

FORMS = {".csv": "csv", ".json": "json", ".jsonl": "json"}
"""What a file is by its name, if nothing else is said."""

Answer = tuple[Picture, np.ndarray | None]


def predict(
    model: str,
    given: list[str],
    form: str | None,
    out: str | None,
    allowed: tuple[str, ...] = (),
    threshold: float | None = None,
) -> int:
    """Write file, class and probability of every picture; give how many could not be read.

    Args:
        model: a name in models/, a model's folder, or a packaged .keras file.
        given: pictures, and folders of them.
        form: csv, json (one object a line), or none: by the name of `out`, else a table.
        out: a file; none: the standard output.
        allowed: classes that the model may have besides Keras's own, see thaw.models.loading.
        threshold: of two classes, the second is answered where its probability is as much or more;
            none: the likelier one.

    Raises:
        UserError: there is no such model or path, a folder without pictures, or a threshold and not
            two classes.
    """
    trained = find_model(model)
    files = pictures.find_pictures(given)
    if threshold is not None and len(trained.classes) != 2:
        raise UserError(
            f"--threshold {threshold:g}: expected a model of two classes, and {model} has "
            f"{len(trained.classes)}."
        )
    if out == "":  # which would be the current folder
        raise UserError("--out '': expected the name of a file.")
    if out and os.path.isdir(out):
        raise UserError(f"--out {out}: expected a file, and it is a folder.")
    if out and os.path.realpath(out) in map(os.path.realpath, files):
        raise UserError(f"--out {out}: expected another file than the pictures.")
    form = form or FORMS.get(Path(out or "").suffix.lower(), "table")

    def answered(p: np.ndarray) -> int:
        """The number of the class, by the probabilities (classes,)."""
        return int(p.argmax() if threshold is None else p[1] >= threshold)

    writer = {"csv": _csv, "json": _json, "table": _table}[form]
    head, lines = writer(trained.classes, files, answered)
    network, bad = trained.load(allowed), 0
    with output_writer(out) as write:
        write(head)
        for some in stream_predictions(network, files, trained.image, trained.batch_size):
            bad += sum(picture.problem is not None for picture, _ in some)
            write("".join(lines(picture, p) for picture, p in some))
    return report_unreadable(bad, len(files))


def _table(classes: list[str], files: list[str], answered: Callable) -> tuple[str, Callable]:
    widths = [min(60, max(map(len, files))), max(map(len, classes)), 0]
    headings = ["file", "class", "probability"]
    line = column_formatter(headings, widths)

    def row(picture: Picture, p: np.ndarray | None) -> str:
        if p is None:
            return ""
        return line(picture.file, classes[answered(p)], f"{p[answered(p)]:.4f}")

    return line(*headings), row


def _csv(classes: list[str], _, answered: Callable) -> tuple[str, Callable]:
    def line(cells: list) -> str:
        text = io.StringIO()
        csv.writer(text).writerow(cells)  # another end of lines would leave \r in names unquoted
        return text.getvalue().removesuffix("\r\n") + "\n"

    def row(picture: Picture, p: np.ndarray | None) -> str:
        if p is None:
            return line([picture.file, "", "", *[""] * len(classes), picture.problem])
        each = [f"{value:.6f}" for value in p]
        return line([picture.file, classes[answered(p)], each[answered(p)], *each, ""])

    each = [f"probability of {name}" for name in classes]
    return line(["file", "class", "probability", *each, "error"]), row


def _json(classes: list[str], _, answered: Callable) -> tuple[str, Callable]:
    def row(picture: Picture, p: np.ndarray | None) -> str:
        if p is None:
            return json.dumps({"file": picture.file, "error": picture.problem}) + "\n"
        each = {name: round(float(value), 6) for name, value in zip(classes, p, strict=True)}
        name = classes[answered(p)]
        said = {"class": name, "probability": each[name], "probabilities": each}
        return json.dumps({"file": picture.file, **said}) + "\n"

    return "", row
