"""Write the results of a run as one self-contained HTML page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from thaw.report import charts
from thaw.report.answer import Answer
from thaw.report.audit import HARD_TO_TELL_APART
from thaw.report.changes import MEASURES, since_commit
from thaw.report.curves import Curves
from thaw.report.data import summarize_data
from thaw.report.gallery import gallery_data
from thaw.report.history import BOX, read_history
from thaw.report.run_results import Model, RunResults
from thaw.report.searches import read_search
from thaw.report.thumbnails import thumbnails

HERE = Path(__file__).parent
THUMBNAIL_PIXELS = 88
MOST_CELLS = 30  # classes along a side of the confusion matrix; larger ones are unreadable
MOST_CONFUSED = 12  # pairs of classes in the list of most confused ones


def page(results: RunResults, answer: Answer, since: str | None) -> str:
    """Return the HTML of the page. It depends only on results, run log, commit and machine.

    Args:
        results: of the project. Outdated results that are found here are added to its `problems`.
        answer: what the page says first.
        since: ISO 8601 time; stages that started later are shown as run.
    """
    features, audit = answer.features, answer.audit
    data = summarize_data(results, features, audit)
    thumbs: dict[str, str] = {}
    if data and results.images is not None:
        keys = [key for examples in data.examples.values() for key in examples]
        keys += [key for a, _, b, _, _ in data.near_duplicates for key in (a, b)]
        keys += audit.keys if audit else []
        thumbs = thumbnails(results.images, keys, THUMBNAIL_PIXELS)
    environment = templates(HERE)
    environment.filters |= {"percent": percent, "size": size, "number": number, "digits": digits}
    environment.filters |= {"seconds": seconds}
    table = results.table
    return environment.get_template("page.html").render(
        results=results,
        dataset=results.parameters["dataset"]["name"],
        lead=answer.model,
        reason=answer.reason,
        compared=answer.compared,
        baseline=answer.baseline,
        near_duplicates=answer.near_duplicates,
        change=since_commit(),
        models=[_view(results, model) for model in results.models],
        costs=_costs(results),
        measures=MEASURES,
        two=len(results.classes) == 2,
        corners=charts.corners(),
        data=data,
        audit=audit,
        hard_to_tell_apart=HARD_TO_TELL_APART,
        gallery=gallery_data(results, features),
        thumbs=thumbs,
        paths={} if table is None else table.set_index("pixel_sha256")["path"].to_dict(),
        history=read_history(results, since),
        box=BOX,
        style=Markup(asset("page.css")),
        script=Markup(asset("shared.js") + asset("page.js")),
    )


def asset(file: str) -> str:
    """Return the content of a style sheet or script in this package."""
    return (HERE / file).read_text(encoding="utf-8")


def templates(folder: Path) -> Environment:
    """Return a Jinja environment that escapes values and rejects undefined ones."""
    return Environment(
        loader=FileSystemLoader([folder, HERE]),  # head.html is here
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _view(results: RunResults, model: Model) -> dict[str, Any]:
    """Return what the template shows of a model."""
    view: dict[str, Any] = {"model": model, "charts": [], "groups": [], "confused": []}
    view["confusion"] = view["search"] = None
    if not model.details:
        return view
    details, classes = model.details, results.classes
    view["intervals"] = details["intervals_95"]
    if len(classes) <= MOST_CELLS:
        view["confusion"] = _with_shares(details["confusion"])
    if len(classes) > 2:
        matrix = np.array(details["confusion"])
        np.fill_diagonal(matrix, 0)
        order = np.argsort(-matrix, axis=None, kind="stable")[:MOST_CONFUSED]
        pairs = zip(*np.unravel_index(order, matrix.shape), strict=True)
        view["confused"] = [
            (classes[a], classes[b], int(matrix[a, b])) for a, b in pairs if matrix[a, b]
        ]
    if len(details["per_group"]) > 1:
        view["groups"] = sorted(details["per_group"].items())
    view["search"] = search = read_search(model.name)
    view["charts"] += [(title, "", svg) for title, svg in search.charts] if search else []
    if model.record:
        for metric in ("loss", "accuracy"):
            svg = charts.training_history(model.name, model.record, metric)
            if svg:
                view["charts"].append((f"Training: {metric}", "training", Markup(svg)))
    if model.probabilities is not None and results.table is not None:
        curves = Curves(model.name, results, model.probabilities)
        view["charts"] += [*curves.areas(), *curves.reliability()]
        view["calibrations"] = curves.calibrations()
    return view


def _with_shares(matrix: list[list[int]]) -> list[list[tuple[int, int]]]:
    """Return each count with its percentage of the row's sum."""
    return [[(n, round(100 * n / max(sum(row), 1))) for n in row] for row in matrix]


def _costs(results: RunResults) -> list[tuple[str, Markup]]:
    """Return charts (title, SVG) of accuracy against each cost that two or more models have."""
    drawn = []
    costs: list[tuple[str, str, Callable[[Model], float | None]]] = [
        ("Training time", "training time, seconds", lambda m: m.seconds),
        (
            "Parameters",
            "parameters trained",
            lambda m: (m.record or {}).get("trained") or (m.record or {}).get("parameters"),
        ),
        ("Size", "size on disk, bytes", lambda m: m.size),
    ]
    for title, axis, cost in costs:
        known = [model for model in results.evaluated if cost(model)]
        if len(known) < 2:
            continue
        svg = charts.accuracy_by_cost(
            axis,
            [model.name for model in known],
            [float(cost(model) or 0) for model in known],
            [100 * model.metrics["accuracy"] for model in known],
            [[100 * v for v in _interval(model)] for model in known],
            [results.models.index(model) for model in known],
        )
        drawn.append((title, Markup(svg)))
    return drawn


def _interval(model: Model) -> list[float]:
    assert model.details is not None
    return list(model.details["intervals_95"]["accuracy"])


def percent(value: float | None, places: int = 1) -> str:
    """Format a share of 1 as a percentage."""
    return "–" if value is None else f"{100 * value:.{places}f}\u00a0%"


def digits(value: float | None, places: int = 3) -> str:
    """Format a number with a fixed number of decimals."""
    return "–" if value is None else f"{value:.{places}f}"


def number(value: int | None) -> str:
    """Format an integer with thousands separators."""
    return "–" if value is None else f"{value:,}"


def size(value: float | None) -> str:
    """Format a number of bytes with a decimal unit."""
    if value is None:
        return "–"
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def seconds(value: float | None) -> str:
    """Format a duration in seconds."""
    if value is None:
        return "not recorded"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
