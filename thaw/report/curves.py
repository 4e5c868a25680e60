"""Compute a model's ROC, precision-recall and reliability curves, by class and by group."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup
from sklearn.metrics import precision_recall_curve, roc_curve

from thaw.evaluation.metrics import calibration, calibration_error
from thaw.report import charts
from thaw.report.run_results import RunResults

MOST_POINTS = 200  # of a curve; more are not visible
MOST_CURVES = 8  # in one chart; the classes with the most test images are drawn
FEWEST_PREDICTIONS = 10  # of a confidence bin; with fewer, its accuracy says little

Chart = tuple[str, str, Markup]  # title, kind of mark the script draws ("roc", "pr", ""), SVG


class Curves:
    """The charts of one model.

    Args:
        name: of the model.
        results: must include the split.
        probabilities: of the model, shape (n, classes), a row for each test image.
    """

    def __init__(self, name: str, results: RunResults, probabilities: np.ndarray) -> None:
        assert results.table is not None
        test: pd.DataFrame = results.table[results.table["split"] == "test"].reset_index(drop=True)
        self._name, self._classes, self._p = name, results.classes, probabilities
        self._true = test["label"].map(results.classes.index).to_numpy()
        self._bins = results.parameters["evaluate"]["ece_bins"]
        self._groups = {"all": np.arange(len(test))}
        groups = sorted(test.groupby("group").indices.items())
        if len(groups) > 1:
            self._groups |= dict(groups[: MOST_CURVES - 1])
        self._by_group = "by group" if len(groups) > 1 else ""

    def areas(self) -> Iterator[Chart]:
        """Yield ROC and precision-recall charts.

        With two classes they are about the second one, over all images and by group. With more
        there is a curve for each class, and by group a micro-average over the classes.
        """
        if len(self._classes) == 2:
            by_group = {n: (self._true[r] == 1, self._p[r, 1]) for n, r in self._groups.items()}
            name = f" of {self._classes[1]}"
            yield from self._areas(name, self._by_group, by_group, ("roc", "pr"))
            return
        counts = np.bincount(self._true, minlength=len(self._classes))
        shown = sorted(np.argsort(-counts, kind="stable")[:MOST_CURVES])
        by_class = {self._classes[n]: (self._true == n, self._p[:, n]) for n in shown}
        subset = f", {len(shown)} of {len(counts)} classes" if len(shown) < len(counts) else ""
        yield from self._areas("", f"by class{subset}", by_class)
        if self._by_group:
            is_true = np.eye(len(self._classes), dtype=bool)[self._true]
            by_group = {
                n: (is_true[r].ravel(), self._p[r].ravel()) for n, r in self._groups.items()
            }
            yield from self._areas("", self._by_group, by_group)

    def _areas(
        self,
        of: str,
        which: str,
        scored: dict[str, tuple[np.ndarray, np.ndarray]],
        kinds: Sequence[str] = ("", ""),
    ) -> Iterator[Chart]:
        """Yield a ROC and a precision-recall chart.

        Args:
            of: what the curves are about, for the title.
            which: how the curves differ, for the title.
            scored: by curve, whether each prediction is positive (n,), and its score (n,).
            kinds: marks that the page's script draws.
        """
        roc, pr = [], []
        for label, (positive, score) in scored.items():
            if 0 < positive.sum() < len(positive):
                false_positive, recall, _ = roc_curve(positive, score)
                roc.append((label, *_thinned(false_positive, recall)))
                precision, recall, _ = precision_recall_curve(positive, score)
                pr.append((label, *_thinned(recall[::-1], precision[::-1])))
        if not roc:
            return
        tail = f"{of}, {which}" if which else of
        area = "; ".join(f"{n}: area {np.trapezoid(y, x):.3f}" for n, x, y in roc)
        axes = "false positive rate", "recall"
        text = f"ROC curve{tail}. {area}"
        svg = charts.unit_square(self._name, f"roc {which}", *axes, roc, True, text)
        yield f"ROC{tail}", kinds[0], Markup(svg)
        area = "; ".join(f"{n}: area {np.trapezoid(y, x):.3f}" for n, x, y in pr)
        text = f"Precision against recall{tail}. {area}"
        axes = "recall", "precision"
        svg = charts.unit_square(self._name, f"pr {which}", *axes, pr, False, text)
        yield f"Precision and recall{tail}", kinds[1], Markup(svg)

    def reliability(self) -> Iterator[Chart]:
        """Yield charts of accuracy by confidence.

        One is over all images and by group. With more than two classes there is also one by
        predicted class.
        """
        row_sets = {self._by_group: self._groups}
        if len(self._classes) > 2:
            predicted = self._p.argmax(axis=1)
            counts = np.bincount(predicted, minlength=len(self._classes))
            shown = sorted(np.argsort(-counts, kind="stable")[:MOST_CURVES])
            by_class = {
                self._classes[n]: np.flatnonzero(predicted == n) for n in shown if counts[n]
            }
            partial = len(by_class) < len(counts)
            subset = f", {len(by_class)} of {len(counts)} classes" if partial else ""
            row_sets[f"by predicted class{subset}"] = by_class
        for which, rows_of in row_sets.items():
            series, dropped = [], False
            for label, rows in rows_of.items():
                bins = calibration(self._true[rows], self._p[rows], self._bins)
                enough = [b for b in bins if b["count"] >= FEWEST_PREDICTIONS]
                dropped |= len(enough) < len(bins)
                bins = enough or bins
                x, y = (np.array([b[key] for b in bins]) for key in ("confidence", "accuracy"))
                series.append((label, x, y))
            tail = f", {which}" if which else ""
            _, x, y = series[0]
            points = (f"{a:.0%} correct at {c:.0%}" for c, a in zip(x, y, strict=True))
            text = f"Accuracy by confidence{tail}. {series[0][0]}: {', '.join(points)}"
            axes = "confidence", "accuracy"
            kind = f"reliability {which}"
            svg = charts.unit_square(self._name, kind, *axes, series, True, text)
            note = f", bins of {FEWEST_PREDICTIONS} or more predictions" if dropped else ""
            yield f"Reliability{tail}{note}", "", Markup(svg)

    def calibrations(self) -> dict[str, float]:
        """Return the calibration error of the predictions of each class that is predicted."""
        predicted, errors = self._p.argmax(axis=1), {}
        for number, label in enumerate(self._classes):
            rows = predicted == number
            if rows.any():
                errors[label] = calibration_error(self._true[rows], self._p[rows], self._bins)
        return errors


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int))
    return x[kept], y[kept]
