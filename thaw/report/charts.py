"""Draw the page's charts with matplotlib as SVG. The page's style sheet sets their colours."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

# Placeholders for colours of the style sheet, which differ in light and dark mode.
INK, FAINT, PAPER = "#0a0b01", "#0a0b02", "#0a0b03"
LINES = [f"#0a0c{n:02x}" for n in range(1, 9)]

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.7,
}
WIDTH, HEIGHT = 4.2, 3.3  # inches, of 72 SVG units each
WIDE = 5.6  # inches, of charts with long labels
AXES = (0.14, 0.15, 0.83, 0.81)  # left, bottom, width, height, as shares of the figure
RIGHT = 0.97  # right edge of the axes, as a share of the figure
MARGIN = 0.02  # around a unit square, so that lines on its edge stay visible
DASHES = ["-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2))]  # not by colour alone

Series = list[tuple[str, np.ndarray, np.ndarray]]  # label, x, y


def training_history(name: str, record: dict[str, Any], metric: str) -> str | None:
    """Draw a metric by epoch, for training and validation.

    Args:
        name: of the model.
        record: content of its record.json.
        metric: loss or accuracy.

    Returns:
        SVG; None if the model was trained in one step or did not record the metric.
    """
    history, start = record["history"], record.get("start")
    if len(history) < 2:
        return None
    series = []
    for label, key in (("training", metric), ("validation", f"val_{metric}")):
        points = [(n, h[key]) for n, h in enumerate(history, start=1) if key in h]
        if label == "validation" and start and metric in start:
            points.insert(0, (0, start[metric]))
        if points:
            series.append((label, *np.array(points, "float64").T))
    if not series:
        return None

    def draw(axes: Axes) -> None:
        _lines(axes, series)
        axes.axvline(record["kept"], color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.annotate(
            f"kept: {record['kept']}",
            (record["kept"], 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            fontsize=8,
        )
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set(xlabel="epoch", ylabel=metric)
        _legend(axes, "best")

    last = ", ".join(f"{label} {y[-1]:.3f}" for label, _, y in series)
    return _svg(draw, f"{name} {metric}", f"{metric} by epoch; last epoch: {last}")


def unit_square(
    name: str, kind: str, x: str, y: str, series: Series, diagonal: bool, description: str
) -> str:
    """Draw curves whose x and y lie between 0 and 1.

    Args:
        name: of the model.
        kind: of the chart; `name` and `kind` together identify it.
        x, y: axis labels.
        series: the curves.
        diagonal: whether to draw the line y = x.
        description: text for screen readers.
    """

    def draw(axes: Axes) -> None:
        if diagonal:
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
        _lines(axes, series, marker="o" if kind.startswith("reliability") else None)
        axes.set(xlabel=x, ylabel=y, xlim=(-MARGIN, 1 + MARGIN), ylim=(-MARGIN, 1 + MARGIN))
        _legend(axes, "lower right" if diagonal else "lower left")

    return _svg(draw, f"{name} {kind}", description)


def accuracy_by_cost(
    cost: str,
    names: Sequence[str],
    x: Sequence[float],
    y: Sequence[float],
    intervals: Sequence[Sequence[float]],
    colours: Sequence[int],
) -> str:
    """Draw test accuracy against a cost on a logarithmic axis, a point for each model.

    Args:
        cost: axis label, with its unit.
        names: of the models.
        x: cost of each model.
        y: accuracy of each model in percent.
        intervals: 95 % interval of each accuracy in percent.
        colours: position of each model's colour in LINES.
    """

    def draw(axes: Axes) -> None:
        for label, left, height, ends, n in zip(names, x, y, intervals, colours, strict=True):
            colour = LINES[n % len(LINES)]
            axes.plot([left, left], ends, color=colour, linewidth=1.4)
            axes.plot([left], [height], "o", color=colour, markersize=6)
            axes.annotate(
                label, (left, height), xytext=(7, 0), textcoords="offset points", va="center"
            )
        axes.set_xscale("log")
        least, most = min(x), max(x)
        axes.set_xlim(least / 1.6, most * max((most / least) ** 0.35, 4))  # room for labels
        axes.set(xlabel=cost, ylabel="test accuracy, %")

    points = "; ".join(f"{n}: {b:.1f} % at {a:,.4g}" for n, a, b in zip(names, x, y, strict=True))
    return _svg(draw, f"cost {cost}", f"test accuracy against {cost}. {points}", width=WIDE)


def learning_curve(name: str, rows: list[dict[str, Any]]) -> str:
    """Draw accuracy by the number of labelled images, with the range over random subsets.

    Args:
        name: of the audit.
        rows: of results/learning_curves/NAME.csv.
    """
    x = [row["images"] for row in rows]
    low, mean, high = (
        [100 * row[key] for row in rows] for key in ("lowest", "accuracy", "highest")
    )

    def draw(axes: Axes) -> None:
        axes.fill_between(x, low, high, color=LINES[0], alpha=0.2, linewidth=0)
        axes.plot(x, mean, "o-", color=LINES[0], markersize=4)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set(xlabel="labelled training images", ylabel="accuracy, %")

    points = "; ".join(f"{m:.1f} % with {n:,}" for n, m in zip(x, mean, strict=True))
    description = f"accuracy by labelled training images: {points}"
    return _svg(draw, f"{name} learning curve", description)


def search_trials(name: str, trials: pd.DataFrame) -> str:
    """Draw the log loss of each complete trial of a search, and the lowest so far.

    Args:
        name: of the model.
        trials: rows of results/searches/NAME/trials.csv.
    """

    def draw(axes: Axes) -> None:
        for number, (model, rows) in enumerate(trials.groupby("model", sort=False)):
            colour = LINES[number % len(LINES)]
            axes.plot(rows["trial"], rows["log_loss"], "o", label=model, color=colour, markersize=4)
        axes.step(trials["trial"], trials["best_log_loss"], where="post", label="lowest", color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set(xlabel="trial", ylabel="log loss, cross-validated")
        _legend(axes, "best")

    best = trials.loc[trials["log_loss"].idxmin()]
    description = f"log loss by trial; lowest: {best['log_loss']:.4f}, trial {best['trial']}"
    return _svg(draw, f"{name} trials", description)


def importance(name: str, rows: pd.DataFrame) -> str:
    """Draw the importance of each parameter of a search as bars.

    Args:
        name: of the model.
        rows: of results/searches/NAME/importance.csv.
    """

    def draw(axes: Axes) -> None:
        axes.barh(range(len(rows)), rows["importance"], height=0.6, color=LINES[0], alpha=0.6)
        axes.set_yticks([])
        for place, label in enumerate(rows["parameter"]):
            axes.annotate(label, (0.01, place), va="center", fontsize=8).set_parse_math(False)
        axes.invert_yaxis()
        axes.set(xlabel="share of the log loss's variance")

    shares = rows.itertuples(index=False)
    text = "; ".join(f"{row.parameter}: {row.importance:.0%}" for row in shares)
    return _svg(draw, f"{name} importance", f"importance of each parameter. {text}")


def _lines(axes: Axes, series: Series, marker: str | None = None) -> None:
    for number, (label, x, y) in enumerate(series):
        axes.plot(
            x,
            y,
            label=f" {label}" if label.startswith("_") else label,  # matplotlib hides "_..."
            color=LINES[number % len(LINES)],
            linestyle=DASHES[number // len(LINES) if len(series) > 4 else number % len(DASHES)],
            marker=marker,
            markersize=3.5,
        )


def _legend(axes: Axes, location: Any) -> None:
    for text in axes.legend(loc=location).get_texts():
        text.set_parse_math(False)  # a class may be named $1


def _svg(draw: Callable[[Axes], None], name: str, description: str, width: float = WIDTH) -> str:
    """Return a chart as an SVG element for an HTML page."""
    with plt.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # the browser draws the text, with any font that it has
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = plt.figure(figsize=(width, HEIGHT))
        left = AXES[0] * WIDTH / width
        draw(figure.add_axes((left, AXES[1], RIGHT - left, AXES[3])))
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # ids must be unique in the page
    text = re.sub(r"\s+(?=<)|(?<=>)\s+(?=<)", "", text)
    text = re.sub(
        r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>",
        rf'<svg \1 role="img" aria-label="{_escaped(description)}" '
        r'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">',
        text,
        count=1,
    )
    names = {INK: "ink", FAINT: "faint", PAPER: "paper"}
    names |= {colour: f"line{n}" for n, colour in enumerate(LINES, start=1)}
    for colour, variable in names.items():
        text = text.replace(colour, f"var(--{variable})")
    return text


def _escaped(text: str) -> str:
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(plain, entity)
    return text.replace("\\", r"\\")


def corners() -> dict[str, float]:
    """Return where a unit square lies in its SVG, so that the page's script can draw into it.

    Returns:
        `left` and `bottom` of the point (0, 0), and the lengths of the unit along `x` and `y`,
        all in SVG units.
    """
    width, height = WIDTH * 72, HEIGHT * 72
    inner = (RIGHT - AXES[0]) * width
    step_x, step_y = inner / (1 + 2 * MARGIN), AXES[3] * height / (1 + 2 * MARGIN)
    return {
        "left": round(AXES[0] * width + MARGIN * step_x, 3),
        "bottom": round(height - AXES[1] * height - MARGIN * step_y, 3),
        "x": round(step_x, 3),
        "y": round(step_y, 3),
    }
