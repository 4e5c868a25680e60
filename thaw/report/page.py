"""The page: what was found, in words, tables and charts, as one HTML file."""

from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from thaw.report import charts
from thaw.report.audit import APART, Doubts, doubted
from thaw.report.changes import MEASURES, since_commit
from thaw.report.curves import Curves
from thaw.report.data import describe
from thaw.report.gallery import MOST, gathered
from thaw.report.history import BOX, tell
from thaw.report.results import Model, RunResults
from thaw.report.thumbnails import thumbnails
from thaw.storage.arrays import ArrayFolder

HERE = Path(__file__).parent
SMALL = 88
MOST_CELLS = 30
"""Classes along a side of the confusion table."""
MOST_CONFUSED = 12


def page(found: RunResults, since: str | None) -> str:
    """The page's HTML; the same for the same results, run log and commit.

    Args:
        since: ISO 8601; what ran from then on counts as run now.
    """
    lead, why = leading(found)
    features = _features(found, lead)
    doubts = doubted(found, features and features[0])
    data = describe(found, features, doubts)
    told = gathered(found, lead, data, features)
    pictures = {}
    if data and found.images is not None:
        keys = [key for some in data.examples.values() for key in some]
        keys += [key for a, _, b, _, _ in data.near for key in (a, b)]
        keys += doubts.keys if doubts else []
        pictures = thumbnails(found.images, keys, SMALL)
    environment = templates(HERE)
    environment.filters |= {"percent": percent, "size": size, "number": number, "digits": digits}
    environment.filters |= {"seconds": seconds}
    paths = {} if found.table is None else found.table.set_index("pixels")["path"].to_dict()
    return environment.get_template("page.html").render(
        found=found,
        dataset=found.parameters["dataset"]["name"],
        lead=lead,
        why=why,
        baseline=_baseline(found, lead),
        twins=_twins(found, lead, doubts),
        change=since_commit(),
        models=[_view(found, model) for model in found.models],
        costs=_costs(found),
        measures=MEASURES,
        two=len(found.classes) == 2,
        corners=charts.corners(),
        data=data,
        doubts=doubts,
        apart=APART,
        told=told,
        most=MOST,
        pictures=pictures,
        paths=paths,
        story=tell(found, since),
        box=BOX,
        style=Markup(text("page.css")),
        script=Markup(text("shared.js") + text("page.js")),
    )


def text(file: str) -> str:
    """A file of this room."""
    return (HERE / file).read_text(encoding="utf-8")


def templates(folder: Path) -> Environment:
    """The HTML templates of a folder: what they are given is escaped, and must be there."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def leading(found: RunResults) -> tuple[Model, str]:
    """The model the page puts first, and why it: by validation accuracy, in which the test data
    has no part, if every model has one."""
    models = found.evaluated
    if len(models) == 1:
        return models[0], "It is the only model with results."
    known = [model.validation for model in models]
    if all(value is not None for value in known):
        best = models[int(np.argmax(known))]
        return best, (
            f"It is put first for its accuracy on validation images, {percent(max(known))}, the "
            f"highest of {len(models)} models; test images had no part in that."
        )
    best = max(models, key=lambda model: model.metrics["accuracy"])
    return best, (
        f"It has the highest test accuracy of {len(models)} models. As it was chosen by that, the "
        f"figure is somewhat too good: there are no validation figures to choose by."
    )


def _features(found: RunResults, lead: Model) -> tuple[str, ArrayFolder] | None:
    """The cached features to compare pictures by: those that the lead reads, or the first."""
    for name in [lead.features, *(found.parameters.get("backbones") or {})]:
        if name and Path(f"data/features/{name}/keys.txt").exists():
            return name, ArrayFolder(f"data/features/{name}")
    return None


def _baseline(found: RunResults, lead: Model) -> tuple[str, float] | None:
    """The class with the most training images, and how often it is right on the test data."""
    if found.table is None:
        return None
    train = found.table.loc[found.table["split"] == "train", "label"]
    test = found.table.loc[found.table["split"] == "test", "label"]
    if train.empty or test.empty:
        return None
    counts = train.value_counts()
    label = min(counts[counts == counts.max()].index)
    return label, float((test == label).mean())


def _twins(found: RunResults, lead: Model, doubts: Doubts | None) -> tuple | None:
    """How many test images are nearly the same as one that was there to learn from, how often the
    lead is right about these and about the others, and how many those are; none where there are
    none of one kind, or it is not known."""
    if doubts is None or lead.probabilities is None or found.table is None:
        return None
    test = found.table[found.table["split"] == "test"]
    true = test["label"].map(found.classes.index).to_numpy()
    right = lead.probabilities.argmax(axis=1) == true
    near = doubts.summary["settings"]["near"]
    twin = np.array([doubts.alike.get(key, 0) >= near for key in test["pixels"]])
    if not 0 < twin.sum() < len(twin):
        return None
    return int(twin.sum()), float(right[twin].mean()), float(right[~twin].mean()), len(twin)


def _view(found: RunResults, model: Model) -> dict:
    """What the template shows of a model."""
    view = {"model": model, "charts": [], "groups": [], "confused": [], "confusion": None}
    if not model.details:
        return view
    details, classes = model.details, found.classes
    view["intervals"] = details["intervals_95"]
    if len(classes) <= MOST_CELLS:
        view["confusion"] = _shaded(details["confusion"])
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
    if model.record:
        for metric in ("loss", "accuracy"):
            drawn = charts.learning(model.name, model.record, metric)
            if drawn:
                view["charts"].append((f"Learning: {metric}", "learning", Markup(drawn)))
    if model.probabilities is not None and found.table is not None:
        curves = Curves(found, model)
        view["charts"] += [*curves.areas(), *curves.reliability()]
        view["calibrations"] = curves.calibrations()
    return view


def _shaded(matrix: list[list[int]]) -> list[list[tuple[int, int]]]:
    """Counts with their share of the row in percent."""
    return [[(n, round(100 * n / max(sum(row), 1))) for n in row] for row in matrix]


def _costs(found: RunResults) -> list[tuple[str, str, Markup]]:
    """Accuracy against each cost that is known of two models or more."""
    made = []
    for title, axis, cost in (
        ("Training time", "training time, seconds", lambda m: m.seconds),
        (
            "Parameters",
            "parameters trained",
            lambda m: (m.record or {}).get("trained") or (m.record or {}).get("parameters"),
        ),
        ("Size", "size on disk, bytes", lambda m: m.size),
    ):
        known = [model for model in found.evaluated if cost(model)]
        if len(known) < 2:
            continue
        drawn = charts.scatter(
            axis,
            [model.name for model in known],
            [float(cost(model)) for model in known],
            [100 * model.metrics["accuracy"] for model in known],
            [[100 * v for v in _interval(model)] for model in known],
            [found.models.index(model) for model in known],
        )
        made.append((title, axis, Markup(drawn)))
    return made


def _interval(model: Model) -> list[float]:
    return model.details["intervals_95"]["accuracy"]


def percent(value: float | None, places: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{places}f}\u00a0%"


def digits(value: float | None, places: int = 3) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def size(value: int | None) -> str:
    if value is None:
        return "–"
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def seconds(value: float | None) -> str:
    if value is None:
        return "not recorded"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
