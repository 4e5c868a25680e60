"""Draw docs/result.svg from results/: `python -m benchmarks.picture`."""

import csv
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
COLOURS = ["#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377"]


def main() -> None:
    """Draw the accuracy of each model with its 95 % interval, beside the ROC curves."""
    details = [json.loads(p.read_text()) for p in (ROOT / "results/details").glob("*.json")]
    details.sort(key=lambda d: d["metrics"]["accuracy"])
    matplotlib.rcParams.update({"svg.hashsalt": "thaw", "font.size": 10})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    majority = max(sum(row) for row in details[0]["confusion"]) / details[0]["counts"]["test"]
    left.axvline(majority, color="#999999", linestyle="--", linewidth=1)
    left.text(
        majority, len(details) - 0.45, "  always the larger class", color="#666666", fontsize=8
    )
    for place, (d, colour) in enumerate(zip(details, COLOURS, strict=False)):
        value, (low, high) = d["metrics"]["accuracy"], d["intervals_95"]["accuracy"]
        left.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="round")
        left.plot(value, place, "o", color=colour, markersize=8)
        left.annotate(
            f"{value:.1%}", (value, place), (0, 8), textcoords="offset points", ha="center"
        )
        with open(ROOT / f"results/plots/{d['model']}/roc.csv", newline="") as file:
            rows = [r for r in csv.DictReader(file) if r["series"] == d["positive"]]
        x = [float(r["false_positive_rate"]) for r in rows]
        y = [float(r["recall"]) for r in rows]
        right.plot(x, y, color=colour, label=f"{d['model']} (AUC {d['metrics']['roc_auc']:.3f})")
    left.set_yticks(range(len(details)), [d["model"] for d in details])
    left.set_ylim(-0.6, len(details) - 0.2)
    left.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, decimals=0))
    left.set_xlabel(f"test accuracy, {details[0]['counts']['test']} images, 95 % interval")
    right.plot([0, 1], [0, 1], color="#999999", linestyle="--", linewidth=1)
    right.set_xlabel("false positive rate")
    right.set_ylabel(f"recall of “{details[0]['positive']}”")
    right.legend(frameon=False, fontsize=8, loc="lower right", reverse=True)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{details[0]['dataset']}, split seed and training seed {details[0]['settings']['seed']}",
        fontweight="bold",
        fontsize=11,
    )
    (ROOT / "docs").mkdir(exist_ok=True)
    figure.savefig(ROOT / "docs/result.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
