"""What changed in the metrics since a commit, in words: `dvc metrics diff` for readers."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

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
LOWER = {"log_loss", "ece"}
"""The measures that are better when they are lower."""


@dataclass
class Change:
    """The metrics of this folder against those of a commit.

    Attributes:
        commit: short, and its subject.
        sentences: by the model's name, without a full stop.
        rows: (model, measure, before, now, whether it is better).
    """

    commit: str
    subject: str
    sentences: dict[str, str]
    rows: list[tuple[str, str, float, float, bool]]

    def said_of(self, name: str) -> str:
        return self.sentences.get(name, "not measured")


def since_commit() -> Change | None:
    """Against the last commit; where that has the very metrics of this folder, against the one
    before. None where there is no such commit."""
    now = {p.stem: json.loads(p.read_text()) for p in sorted(Path(FOLDER).glob("*.json"))}
    for revision in ("HEAD", "HEAD~1"):
        if (said := git("log", "-1", "--format=%h %s", revision)) is None:
            return None
        before = _metrics(revision)
        if before != now or revision == "HEAD~1":
            commit, _, subject = said.partition(" ")
            return Change(commit, subject, *_differences(before, now))
    return None


def git(*arguments: str) -> str | None:
    """What git says; none where it fails, or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def _metrics(revision: str) -> dict[str, dict]:
    names = (git("ls-tree", "--name-only", revision, f"{FOLDER}/") or "").splitlines()
    found = {}
    for name in names:
        if name.endswith(".json") and (text := git("show", f"{revision}:./{name}")):
            found[Path(name).stem] = json.loads(text)
    return found


def _differences(before: dict[str, dict], now: dict[str, dict]) -> tuple[dict, list]:
    sentences, rows = {}, []
    for name in [*now, *(n for n in before if n not in now)]:
        if name not in before:
            sentences[name] = f"new, accuracy {_percent(now[name]['accuracy'])}"
            continue
        if name not in now:
            sentences[name] = f"gone, accuracy was {_percent(before[name]['accuracy'])}"
            continue
        words = []
        for key, label in MEASURES.items():
            old, new = before[name].get(key), now[name].get(key)
            if old is None or new is None or old == new:
                continue
            better = (new < old) == (key in LOWER)
            rows.append((name, label, old, new, better))
            words.append(f"{label} {'rose' if new > old else 'fell'} {_by(key, old, new)}")
        sentences[name] = ", ".join(words) if words else "nothing changed"
    return sentences, rows


def _by(key: str, old: float, new: float) -> str:
    if key in ("log_loss", "ece"):
        return f"from {old:.3f} to {new:.3f}"
    return f"by {abs(new - old) * 100:.1f} points to {_percent(new)}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"
