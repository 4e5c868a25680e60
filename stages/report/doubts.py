"""What the page says of doubts about the data, as the stage `doubts` wrote them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from stages.report import charts
from stages.report.found import Found

MOST_SUSPECTS, MOST_OUTLIERS, MOST_CLASSES = 48, 12, 12
APART = 0.75
"""Share of two classes' images that are told apart, below which the page calls them hard to."""


@dataclass
class Doubts:
    """Attributes:
    name: in params.yaml.
    summary: of summary.json.
    suspects, outliers: the first rows of images.csv that are so, as dictionaries.
    classes: rows of classes.csv, most first.
    growth: rows of results/labels.
    chart: of these.
    verdict: whether to label more, in words; none where it was measured once.
    """

    name: str
    summary: dict
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


def doubted(found: Found, features: str | None) -> Doubts | None:
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
        words = {column: str for column in ("path", "split", "label", "suggested", "pixels")}
        images = pd.read_csv(folder / "images.csv", dtype=words, keep_default_na=False)
        classes = pd.read_csv(
            folder / "classes.csv", dtype={"one": str, "other": str}, keep_default_na=False
        )
        grown = pd.read_csv(labels).to_dict("records")
        far = images[images["outlier"]].sort_values("distance", ascending=False, kind="stable")
        return Doubts(
            name,
            json.loads((folder / "summary.json").read_text(encoding="utf-8")),
            images[images["suspect"]].head(MOST_SUSPECTS).to_dict("records"),
            far.head(MOST_OUTLIERS).to_dict("records"),
            classes.head(MOST_CLASSES).to_dict("records"),
            grown,
            Markup(charts.growth(name, grown)) if len(grown) > 1 else None,
            _verdict(grown),
        )
    return None


def _verdict(grown: list[dict]) -> str | None:
    """What twice as many labels or more brought, against what the draw of images changes."""
    if len(grown) < 2:
        return None
    last = grown[-1]
    before = max(
        (row for row in grown[:-1] if row["images"] <= last["images"] / 2),
        key=lambda row: row["images"],
        default=grown[0],
    )
    gain, spread = last["accuracy"] - before["accuracy"], before["highest"] - before["lowest"]
    times = last["images"] / before["images"]
    said = (
        f"{times:.1f} times as many labelled images, {last['images']:,} after "
        f"{before['images']:,}, brought {100 * gain:+.1f} points of accuracy, where the choice "
        f"of those {before['images']:,} alone makes {100 * spread:.1f} points of difference. "
    )
    if gain <= spread / 2:
        return said + (
            "That is little: more labels of the same kind would hardly help these features; "
            "mending doubtful labels, another backbone or fine-tuning may."
        )
    return said + "The curve still rises: more labels are worth their while."
