"""What the page says of doubts about the data, as the stage `doubts` wrote them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from thaw.report import charts
from thaw.report.results import RunResults

MOST_SUSPECTS, MOST_OUTLIERS, MOST_CLASSES = 48, 12, 12
PAIR = ["one_pixels", "one_split", "other_pixels", "other_split"]
MOST_NEAR = 12
LITTLE = 0.02
"""Of accuracy: what another doubling of labels would bring at most where they are enough."""
APART = 0.75
"""Share of two classes' images that are told apart, below which the page calls them hard to."""


@dataclass
class Doubts:
    """Attributes:
    name: in params.yaml.
    summary: of summary.json.
    agreement: the share of labels that the regression gives too: of all, and of the class in which
        it is least, with that class; none where no label was judged.
    alike: by the identity of a validation or test image its cosine with the most alike one that
        was there to learn from.
    near: (identity, split, identity, split, cosine) of the most alike across splits.
    suspects, outliers: the first rows of images.csv that are so, as dictionaries.
    classes: rows of classes.csv, most first.
    growth: rows of results/labels.
    chart: of these.
    verdict: whether to label more, in words; none where it was measured once.
    """

    name: str
    summary: dict
    agreement: tuple[float, float, str] | None
    alike: dict[str, float]
    near: list[tuple]
    suspects: list[dict]
    outliers: list[dict]
    classes: list[dict]
    growth: list[dict]
    chart: Markup | None
    verdict: str | None

    @property
    def count(self) -> int:
        return sum(self.summary["suspects"].values())

    @property
    def keys(self) -> list[str]:
        """The identities of the images that are shown."""
        return [row["pixels"] for row in self.suspects + self.outliers]


def doubted(found: RunResults, features: str | None) -> Doubts | None:
    """The doubts by these features, else by others; none where the stage did not run.

    Args:
        features: whose the page compares pictures by.
    """
    names = list(found.parameters.get("doubts") or {})
    names.sort(key=lambda name: found.parameters["doubts"][name]["features"] != features)
    for name in names:
        folder, labels = Path(f"results/doubts/{name}"), Path(f"results/labels/{name}.csv")
        if not ((folder / "summary.json").exists() and labels.exists()):
            continue
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        if "measured" not in summary:
            continue  # by a stage of before
        words = {column: str for column in ("path", "split", "label", "suggested", "pixels")}
        images = pd.read_csv(folder / "images.csv", dtype=words, keep_default_na=False)
        classes = pd.read_csv(
            folder / "classes.csv", dtype={"one": str, "other": str}, keep_default_na=False
        )
        grown = pd.read_csv(labels).to_dict("records")
        words = {column: str for column in PAIR}
        pairs = pd.read_csv(folder / "pairs.csv", dtype=words, keep_default_na=False)
        pairs = pairs[[*PAIR, "cosine"]]
        far = images[images["outlier"]].sort_values("distance", ascending=False, kind="stable")
        return Doubts(
            name,
            summary,
            _agreement(images),
            dict(zip(*_known(images, "alike"), strict=True)),
            list(pairs.head(MOST_NEAR).itertuples(index=False, name=None)),
            images[images["suspect"]].head(MOST_SUSPECTS).to_dict("records"),
            far.head(MOST_OUTLIERS).to_dict("records"),
            classes.head(MOST_CLASSES).to_dict("records"),
            grown,
            Markup(charts.growth(name, grown)) if len(grown) > 1 else None,
            verdict(grown, summary["measured"]),
        )
    return None


def _known(images: pd.DataFrame, column: str) -> tuple[list[str], list[float]]:
    """Identities and values of the images for which a column has one."""
    some = images[images[column] != ""]
    return some["pixels"].tolist(), some[column].astype(float).tolist()


def _agreement(images: pd.DataFrame) -> tuple[float, float, str] | None:
    judged = images[images["suggested"] != ""]
    if judged.empty:
        return None
    right = judged["suggested"] == judged["label"]
    by_class = right.groupby(judged["label"]).mean()
    return float(right.mean()), float(by_class.min()), by_class.idxmin()


def verdict(grown: list[dict], measured: int) -> str | None:
    """What the last doubling of labels brought, against what chance can make of it: the draw of
    images, and so few images to measure on (two standard errors of an accuracy).

    Args:
        grown: rows of results/labels, the last two with half of all labels and all.
        measured: how many images accuracy was measured on.
    """
    if len(grown) < 2 or not measured:
        return None
    half, last = grown[-2:]
    gain, spread = last["accuracy"] - half["accuracy"], half["highest"] - half["lowest"]
    error = 2 * (last["accuracy"] * (1 - last["accuracy"]) / measured) ** 0.5
    chance = max(spread, error)
    said = (
        f"The last doubling, from {half['images']:,} to {last['images']:,} labelled images, "
        f"brought {100 * gain:+.1f} points of accuracy, of which chance can make "
        f"{100 * chance:.1f}. "
    )
    if gain > chance:
        return said + "More labels are worth their while."
    if gain + chance < LITTLE:
        return said + (
            "More labels of the same kind would hardly help these features; mending doubtful "
            "labels, another backbone or fine-tuning may."
        )
    return said + (
        f"So {measured:,} images are too few to tell whether more labels would help: a larger "
        f"validation split can, and the curve's course over the smaller numbers may."
    )
