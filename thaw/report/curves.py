"""A model's ROC, precision-recall and reliability curves, by class and by group."""

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup
from sklearn.metrics import precision_recall_curve, roc_curve

from thaw.evaluation.metrics import calibration, calibration_error
from thaw.report import charts
from thaw.report.results import Model, RunResults

MOST_POINTS = 200
"""Of a curve; more cannot be seen."""
MOST = 8
"""Curves in one chart; of more classes, those with the most test images."""

LEAST = 10
"""Answers of about one confidence, below which their share that is right is not shown: it says
little. (Where no confidence has so many, all are.)"""

Chart = tuple[str, str, Markup]
"""Title, what the page's script may draw into it (`roc`, `pr` or nothing), and the SVG."""


class Curves:
    """Charts of a model whose probabilities for the test images of `found` are there."""

    def __init__(self, found: RunResults, model: Model):
        test = found.table[found.table["split"] == "test"].reset_index(drop=True)
        self._name, self._classes, self._p = model.name, found.classes, model.probabilities
        self._true = test["label"].map(found.classes.index).to_numpy()
        self._bins = found.parameters["evaluate"]["ece_bins"]
        self._groups = {"all": np.arange(len(test))}
        groups = sorted(test.groupby("group").indices.items())
        if len(groups) > 1:
            self._groups |= dict(groups[: MOST - 1])
        self._by_group = "by group" if len(groups) > 1 else ""

    def areas(self) -> Iterator[Chart]:
        """ROC and precision-recall: for two classes of the second, over all and by group; for more
        of each class, and by group over all classes together."""
        if len(self._classes) == 2:
            own = {n: (self._true[r] == 1, self._p[r, 1]) for n, r in self._groups.items()}
            yield from self._areas(f" of {self._classes[1]}", self._by_group, own, ("roc", "pr"))
            return
        counts = np.bincount(self._true, minlength=len(self._classes))
        shown = sorted(np.argsort(-counts, kind="stable")[:MOST])
        each = {self._classes[n]: (self._true == n, self._p[:, n]) for n in shown}
        some = f", {len(shown)} of {len(counts)} classes" if len(shown) < len(counts) else ""
        yield from self._areas("", f"by class{some}", each)
        if self._by_group:
            is_true = np.eye(len(self._classes), dtype=bool)[self._true]
            own = {n: (is_true[r].ravel(), self._p[r].ravel()) for n, r in self._groups.items()}
            yield from self._areas("", self._by_group, own)

    def _areas(self, of: str, which: str, series: dict, kinds=("", "")) -> Iterator[Chart]:
        """
        Args:
            series: by the curve's name whether each answer is right (n,), and its score (n,).
        """
        roc, pr = [], []
        for label, (positive, score) in series.items():
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
        said = f"ROC curve{tail}. {area}"
        drawn = charts.unit(self._name, f"roc {which}", *axes, roc, True, said)
        yield f"ROC{tail}", kinds[0], Markup(drawn)
        area = "; ".join(f"{n}: area {np.trapezoid(y, x):.3f}" for n, x, y in pr)
        said = f"Precision against recall{tail}. {area}"
        drawn = charts.unit(self._name, f"pr {which}", "recall", "precision", pr, False, said)
        yield f"Precision and recall{tail}", kinds[1], Markup(drawn)

    def reliability(self) -> Iterator[Chart]:
        """How often answers are right by their confidence; over all and by group, and for more
        than two classes by the class that is answered."""
        sets = {self._by_group: self._groups}
        if len(self._classes) > 2:
            predicted = self._p.argmax(axis=1)
            counts = np.bincount(predicted, minlength=len(self._classes))
            shown = sorted(np.argsort(-counts, kind="stable")[:MOST])
            each = {self._classes[n]: np.flatnonzero(predicted == n) for n in shown if counts[n]}
            some = f", {len(each)} of {len(counts)} classes" if len(each) < len(counts) else ""
            sets[f"by class answered{some}"] = each
        for which, rows_of in sets.items():
            series, few = [], False
            for label, rows in rows_of.items():
                bins = calibration(self._true[rows], self._p[rows], self._bins)
                enough = [b for b in bins if b["count"] >= LEAST]
                few |= len(enough) < len(bins)
                bins = enough or bins
                x, y = (np.array([b[key] for b in bins]) for key in ("confidence", "accuracy"))
                series.append((label, x, y))
            tail = f", {which}" if which else ""
            _, x, y = series[0]
            pairs = (f"{a:.0%} right at {c:.0%}" for c, a in zip(x, y, strict=True))
            said = f"How often answers are right by their confidence{tail}. {series[0][0]}: "
            said += ", ".join(pairs)
            axes = "confidence", "share that is right"
            kind = f"reliability {which}"
            drawn = charts.unit(self._name, kind, *axes, series, True, said)
            least = f", from {LEAST} answers of a confidence on" if few else ""
            yield f"Reliability{tail}{least}", "", Markup(drawn)

    def calibrations(self) -> dict[str, float]:
        """The calibration error of the answers that name each class; none where none does."""
        predicted, made = self._p.argmax(axis=1), {}
        for number, label in enumerate(self._classes):
            rows = predicted == number
            if rows.any():
                made[label] = calibration_error(self._true[rows], self._p[rows], self._bins)
        return made


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    some = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int))
    return x[some], y[some]
