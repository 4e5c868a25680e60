"""Read the tables of the stage `audit` for the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from thaw.models.bundle import read_json_object
from thaw.report import charts
from thaw.report.run_results import DRAWN, OUTDATED, RunResults
from thaw.storage.tables import read_table

MOST_ERRORS, MOST_OUTLIERS, MOST_CLASSES, MOST_PAIRS = 48, 12, 12, 12  # rows shown on the page
PAIR = ["one_pixel_sha256", "one_split", "other_pixel_sha256", "other_split"]
CURVE = ["images", "accuracy", "lowest", "highest", "repeats"]
ROW = ["pixel_sha256", "label", "split"]  # identifies a row of the split
SMALL_GAIN = 0.02  # accuracy: if another doubling brings less, there are enough labels
HARD_TO_TELL_APART = 0.75  # accuracy between two classes; the page marks pairs below it

Pair = tuple[str, str, str, str, float]  # pixel_sha256 and split of both images, cosine similarity


@dataclass
class AuditSection:
    """The tables of an audit that the page shows.

    Attributes:
        name: the audit's key in params.yaml.
        summary: content of summary.json.
        agreement: share of labels that the regression predicts too, the same for the class where
            it is lowest, and that class; None if no label was judged.
        training_similarity: cosine similarity of each validation and test image with the most
            similar image that a model may learn from, by `pixel_sha256`.
        near_duplicates: the most similar pairs of images in different splits.
        likely_errors: the first rows of images.csv whose label is a likely error.
        outliers: the rows of images.csv with the largest distance.
        classes: rows of classes.csv, the most confused pair first.
        learning_curve: rows of results/learning_curves/NAME.csv.
        chart: SVG of `learning_curve`; None if it has one point.
        verdict: whether more labels would help; None if accuracy was measured once.
    """

    name: str
    summary: dict[str, Any]
    agreement: tuple[float, float, str] | None
    training_similarity: dict[str, float]
    near_duplicates: list[Pair]
    likely_errors: list[dict[str, Any]]
    outliers: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    learning_curve: list[dict[str, Any]]
    chart: Markup | None
    verdict: str | None

    @property
    def error_count(self) -> int:
        """The number of likely label errors in all splits."""
        return sum(self.summary["likely_errors"].values())

    @property
    def keys(self) -> list[str]:
        """`pixel_sha256` of the images that the audit section shows."""
        return [row["pixel_sha256"] for row in self.likely_errors + self.outliers]


def read_audit(results: RunResults, features: str | None) -> AuditSection | None:
    """Read the audit that used the given features, otherwise another one.

    Args:
        results: gets a line in `problems` for each audit of another split.
        features: backbone whose features the page compares images by.

    Returns:
        None if no audit of the current split exists.
    """
    names = list(results.parameters.get("audits") or {})
    names.sort(key=lambda name: results.parameters["audits"][name]["features"] != features)
    for name in names:
        folder = Path(f"results/audits/{name}")
        curve_file = Path(f"results/learning_curves/{name}.csv")
        if not ((folder / "summary.json").exists() and curve_file.exists()):
            continue
        images = _read(folder / "images.csv", "path", "suggested", *ROW)
        for column in ("probability", "training_similarity"):  # empty where it is not known
            images[column] = pd.to_numeric(images[column], errors="coerce")
        if results.table is not None:
            drawn = results.table[results.table["split"].isin(DRAWN)]
            if sorted(images[ROW].values.tolist()) != sorted(drawn[ROW].values.tolist()):
                results.problems[f"audit {name}"] = OUTDATED
                continue
        summary_file = folder / "summary.json"
        summary = read_json_object(summary_file, summary_file.read_bytes)
        classes = _read(folder / "classes.csv", "one", "other")
        curve = read_table(curve_file, CURVE, may_be_empty=True).to_dict("records")
        pairs = _read(folder / "pairs.csv", *PAIR)[[*PAIR, "cosine"]]
        outliers = images[images["outlier"]].sort_values("distance", ascending=False, kind="stable")
        compared = images[images["training_similarity"].notna()]
        return AuditSection(
            name,
            summary,
            _agreement(images),
            compared.set_index("pixel_sha256")["training_similarity"].to_dict(),
            list(pairs.head(MOST_PAIRS).itertuples(index=False, name=None)),
            images[images["likely_error"]].head(MOST_ERRORS).to_dict("records"),
            outliers.head(MOST_OUTLIERS).to_dict("records"),
            classes.head(MOST_CLASSES).to_dict("records"),
            curve,
            Markup(charts.learning_curve(name, curve)) if len(curve) > 1 else None,
            verdict(curve, summary["measured"]),
        )
    return None


def _read(path: Path, *text_columns: str) -> pd.DataFrame:
    text = dict.fromkeys(text_columns, str)
    return read_table(path, list(text_columns), may_be_empty=True, dtype=text)


def _agreement(images: pd.DataFrame) -> tuple[float, float, str] | None:
    judged = images[images["suggested"] != ""]
    if judged.empty:
        return None
    agrees = judged["suggested"] == judged["label"]
    by_class = agrees.groupby(judged["label"]).mean()
    return float(agrees.mean()), float(by_class.min()), by_class.idxmin()


def verdict(curve: list[dict[str, Any]], measured: int) -> str | None:
    """Say whether labelling more images would help.

    The gain of the last doubling is compared with what chance can cause: the spread over random
    subsets, and the small number of test images (two standard errors of an accuracy).

    Args:
        curve: rows of results/learning_curves/NAME.csv; the last two are half of all labelled
            images and all of them.
        measured: number of images that accuracy was measured on.

    Returns:
        Two sentences; None if accuracy was measured once or on no image.
    """
    if len(curve) < 2 or not measured:
        return None
    half, last = curve[-2:]
    gain, spread = last["accuracy"] - half["accuracy"], half["highest"] - half["lowest"]
    error = 2 * (last["accuracy"] * (1 - last["accuracy"]) / measured) ** 0.5
    chance = max(spread, error)
    observation = (
        f"The last doubling, from {half['images']:,} to {last['images']:,} labelled images, "
        f"changed accuracy by {100 * gain:+.1f} points; chance alone can cause "
        f"{100 * chance:.1f} points. "
    )
    if gain > chance:
        return observation + "More labels are likely to help."
    if gain + chance < SMALL_GAIN:
        return observation + (
            "More labels of the same kind would hardly help these features. Correcting label "
            "errors, another backbone or fine-tuning may."
        )
    return observation + (
        f"{measured:,} images are too few to tell whether more labels would help. Use a larger "
        f"validation split, or look at the slope of the learning curve."
    )
