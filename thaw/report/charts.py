"""The page's charts, drawn by matplotlib as SVG whose colours the page's style sheet decides."""

import io
import re

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

INK, FAINT, PAPER = "#0a0b01", "#0a0b02", "#0a0b03"
LINES = [f"#0a0c{n:02x}" for n in range(1, 9)]
"""Stand for a colour of the style sheet, which differs by day and by night."""

STYLE = {
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
WIDTH, HEIGHT = 4.2, 3.3
"""Inches, at 72 units of the SVG."""
PLACE = (0.14, 0.15, 0.83, 0.81)
"""Of the axes in the figure: left, bottom, width, height as shares."""
MARGIN = 0.02
"""Around a unit square, so that lines on its edge are seen."""
DASHES = ["-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2))]
"""Lines differ by more than colour."""

Series = list[tuple[str, np.ndarray, np.ndarray]]


def learning(name: str, record: dict, metric: str) -> str | None:
    """Loss or accuracy by epoch; none for a model that was fitted in one step."""
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

    def draw(axes):
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
    return _svg(draw, f"{name} {metric}", f"{metric} by epoch; at the end: {last}")


def unit(name: str, kind: str, x: str, y: str, series: Series, diagonal: bool, said: str) -> str:
    """Curves in the unit square.

    Args:
        name: of the model; with `kind` it is the chart's own.
        x, y: what stands at the axes.
        said: for those who cannot see it.
    """

    def draw(axes):
        if diagonal:
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
        _lines(axes, series, marker="o" if kind.startswith("reliability") else None)
        axes.set(xlabel=x, ylabel=y, xlim=(-MARGIN, 1 + MARGIN), ylim=(-MARGIN, 1 + MARGIN))
        _legend(axes, "lower right" if diagonal else "lower left")

    return _svg(draw, f"{name} {kind}", said)


def scatter(
    axis: str,
    names: list[str],
    x: list[float],
    y: list[float],
    spans: list[list[float]],
    colours: list[int],
) -> str:
    """Accuracy against a cost, each model with its interval, the cost on a logarithmic scale."""

    def draw(axes):
        for label, place, height, span, n in zip(names, x, y, spans, colours, strict=True):
            colour = LINES[n % len(LINES)]
            axes.plot([place, place], span, color=colour, linewidth=1.4)
            axes.plot([place], [height], "o", color=colour, markersize=6)
            axes.annotate(
                label, (place, height), xytext=(7, 0), textcoords="offset points", va="center"
            )
        axes.set_xscale("log")
        least, most = min(x), max(x)
        axes.set_xlim(least / 1.6, most * max((most / least) ** 0.35, 4))
        axes.set(xlabel=axis, ylabel="test accuracy, %")

    said = "; ".join(f"{n}: {b:.1f} % at {a:,.4g}" for n, a, b in zip(names, x, y, strict=True))
    return _svg(draw, f"cost {axis}", f"test accuracy against {axis}. {said}", width=5.6)


def growth(name: str, rows: list[dict]) -> str:
    """Accuracy by the number of labelled images, with the range over draws."""
    x = [row["images"] for row in rows]
    low, mean, high = (
        [100 * row[key] for row in rows] for key in ("lowest", "accuracy", "highest")
    )

    def draw(axes):
        axes.fill_between(x, low, high, color=LINES[0], alpha=0.2, linewidth=0)
        axes.plot(x, mean, "o-", color=LINES[0], markersize=4)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set(xlabel="labelled training images", ylabel="accuracy, %")

    said = "; ".join(f"{m:.1f} % with {n:,}" for n, m in zip(x, mean, strict=True))
    return _svg(draw, f"{name} growth", f"accuracy by labelled training images: {said}")


def _lines(axes, series: Series, marker: str | None = None) -> None:
    for number, (label, x, y) in enumerate(series):
        axes.plot(
            x,
            y,
            label=f" {label}" if label.startswith("_") else label,  # those are left out
            color=LINES[number % len(LINES)],
            linestyle=DASHES[number // len(LINES) if len(series) > 4 else number % len(DASHES)],
            marker=marker,
            markersize=3.5,
        )


def _legend(axes, place: str) -> None:
    for text in axes.legend(loc=place).get_texts():
        text.set_parse_math(False)  # a class may be called $1


def _svg(draw, name: str, said: str, width: float = WIDTH) -> str:
    """The SVG of a chart, to stand in an HTML page."""
    with plt.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = plt.figure(figsize=(width, HEIGHT))
        left = PLACE[0] * WIDTH / width
        draw(figure.add_axes((left, PLACE[1], 0.97 - left, PLACE[3])))
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # many charts stand in one page
    text = re.sub(r"\s+(?=<)|(?<=>)\s+(?=<)", "", text)
    text = re.sub(
        r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>",
        rf'<svg \1 role="img" aria-label="{_escaped(said)}" xmlns="http://www.w3.org/2000/svg" '
        r'xmlns:xlink="http://www.w3.org/1999/xlink">',
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
    """Where 0 and 1 of a unit square lie in its SVG, for what the page draws into it."""
    width, height = WIDTH * 72, HEIGHT * 72
    inner = (0.97 - PLACE[0]) * width
    step_x, step_y = inner / (1 + 2 * MARGIN), PLACE[3] * height / (1 + 2 * MARGIN)
    return {
        "left": round(PLACE[0] * width + MARGIN * step_x, 3),
        "bottom": round(height - PLACE[1] * height - MARGIN * step_y, 3),
        "x": round(step_x, 3),
        "y": round(step_y, 3),
    }
