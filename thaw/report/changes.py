"""Describe how the metrics changed since a commit, as `dvc metrics diff` does, in words."""

import contextlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw.errors import UserError
from thaw.models.bundle import read_json_object

FOLDER = "results/metrics"
MEASURES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "ece": "calibration error",
}
LOWER_IS_BETTER = {"log_loss", "ece"}
GIT_SECONDS = 20  # git on a network drive may hang; the report works without it

Metrics = dict[str, dict[str, Any]]  # by model name
Row = tuple[str, str, float, float, bool]  # model, measure, before, now, whether it improved


@dataclass
class Change:
    """The difference between the current metrics and those of a commit.

    Attributes:
        commit: abbreviated hash.
        subject: first line of the commit message.
        sentences: by model name, without a full stop.
        rows: one for each value that changed.
    """

    commit: str
    subject: str
    sentences: dict[str, str]
    rows: list[Row]

    def sentence(self, model: str) -> str:
        """Return how a model's metrics changed."""
        return self.sentences.get(model, "not evaluated")


def since_commit() -> Change | None:
    """Compare the metrics with the last commit, or the one before if the last has the same.

    Returns:
        None if there is no such commit.
    """
    files = sorted(Path(FOLDER).glob("*.json"))
    now = {file.stem: read_json_object(file, file.read_bytes) for file in files}
    for revision in ("HEAD", "HEAD~1"):
        if (line := git("log", "-1", "--format=%h %s", revision)) is None:
            return None
        before = _metrics(revision)
        if before != now or revision == "HEAD~1":
            commit, _, subject = line.partition(" ")
            return Change(commit, subject, *_differences(before, now))
    return None


def git(*arguments: str) -> str | None:
    """Return the output of git, or None if it fails or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, timeout=GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def _metrics(revision: str) -> Metrics:
    names = (git("ls-tree", "--name-only", revision, f"{FOLDER}/") or "").splitlines()
    metrics = {}
    for name in names:
        if name.endswith(".json") and (text := git("show", f"{revision}:./{name}")):
            with contextlib.suppress(UserError):  # of another version, or with conflict markers
                metrics[Path(name).stem] = read_json_object(name, text.encode)
    return metrics


def _differences(before: Metrics, now: Metrics) -> tuple[dict[str, str], list[Row]]:
    sentences: dict[str, str] = {}
    rows: list[Row] = []
    for name in [*now, *(n for n in before if n not in now)]:
        if name not in before:
            sentences[name] = f"new, accuracy {_percent(now[name]['accuracy'])}"
            continue
        if name not in now:
            sentences[name] = f"removed, accuracy was {_percent(before[name]['accuracy'])}"
            continue
        parts = []
        for key, label in MEASURES.items():
            old, new = before[name].get(key), now[name].get(key)
            if old is None or new is None or old == new:
                continue
            better = (new < old) == (key in LOWER_IS_BETTER)
            rows.append((name, label, old, new, better))
            parts.append(f"{label} {'rose' if new > old else 'fell'} {_by(key, old, new)}")
        sentences[name] = ", ".join(parts) if parts else "nothing changed"
    return sentences, rows


def _by(key: str, old: float, new: float) -> str:
    if key in LOWER_IS_BETTER:
        return f"from {old:.3f} to {new:.3f}"
    return f"by {abs(new - old) * 100:.1f} points to {_percent(new)}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"
