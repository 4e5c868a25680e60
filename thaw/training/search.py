"""Search hyperparameters with Optuna: trials in order, scored fold by fold, with pruning."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
import pandas as pd

from thaw.config.search import Path, Range, Search, searched, with_values
from thaw.errors import UserError, note_progress

UNPRUNED_TRIALS = 5  # complete trials that pruning compares with, before it begins
UNPRUNED_FOLDS = 2  # folds of each trial before it may be pruned: one fold is noisy
LEAST_TRIALS = 4  # complete trials of a model, needed to rank its parameters
DIGITS = 4  # significant digits of a searched number, so that it can be read and copied

# returns the log loss and the accuracy on each fold, computed when it is asked for
FoldScores = Callable[[dict[str, Any]], Iterable[tuple[float, float]]]


@dataclass
class Trial:
    """A candidate and its scores.

    Attributes:
        model: name of the model whose parameters were changed.
        values: the values that were tried, by the path of the parameter.
        state: `complete`; `pruned`, if its first folds were worse than the median; or `failed`,
            if its loss was not finite.
        losses: log loss on each fold.
        accuracies: accuracy on each fold.
    """

    model: str
    values: dict[Path, Any]
    state: str = "failed"
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """The mean log loss of the folds that were run; NaN if there is none."""
        return float(np.mean(self.losses)) if self.losses else float("nan")


@dataclass
class SearchResult:
    """The result of a search.

    Attributes:
        trials: in order.
        best: the number of the complete trial with the lowest log loss.
        winner: all parameters of that trial's model.
        importances: (model, parameter, share of the log loss's variance that it explains).
    """

    trials: list[Trial]
    best: int
    winner: dict[str, Any]
    importances: list[tuple[str, str, float]]

    def trials_table(self) -> pd.DataFrame:
        """Return a row for each trial, with a column for each fold and each parameter."""
        folds = max(len(trial.losses) for trial in self.trials)
        names = sorted({_name(trial.model, path) for trial in self.trials for path in trial.values})
        rows, best = [], float("nan")
        for number, trial in enumerate(self.trials):
            if trial.state == "complete":
                best = float(np.fmin(best, trial.loss))
            values = {_name(trial.model, path): v for path, v in trial.values.items()}
            rows.append(
                {
                    "trial": number,
                    "state": trial.state,
                    "model": trial.model,
                    "log_loss": trial.loss,
                    "best_log_loss": best,
                    "accuracy": float(np.mean(trial.accuracies)) if trial.losses else float("nan"),
                    **{f"fold{n}": dict(enumerate(trial.losses)).get(n) for n in range(folds)},
                    **{name: json.dumps(values[name]) if name in values else "" for name in names},
                }
            )
        return pd.DataFrame(rows)

    def importance_table(self) -> pd.DataFrame:
        """Return a row for each parameter, the most important of each model first."""
        return pd.DataFrame(
            [(_name(model, (name,)), value) for model, name, value in self.importances],
            columns=["parameter", "importance"],
        )


def run_search(
    models: dict[str, Any], space: dict[str, Any], search: Search, seed: int, scores: FoldScores
) -> SearchResult:
    """Find the model and the values with the lowest mean log loss of cross-validation.

    The first trials are the models as they are. Trials are asked and told in order, and nothing
    but the folds' scores has a part in what is tried next, so equal scores give an equal search.

    Args:
        models: complete parameters by name.
        space: for each model, the values to try.
        search: number of trials, folds and seconds.
        seed: of the sampler.
        scores: of a candidate, given its complete parameters.

    Raises:
        UserError: no trial was completed.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(UNPRUNED_TRIALS, UNPRUNED_FOLDS - 1),
    )
    choices = {name: searched(space.get(name, {}), "space", name) for name in models}
    for name, values in models.items():
        study.enqueue_trial({"model": name, **_starting_point(name, values, choices[name])})
    started = time.monotonic()
    trials: list[Trial] = []
    best: int | None = None
    while len(trials) < search.trials:
        if search.seconds and time.monotonic() - started > search.seconds and best is not None:
            print(f"{len(trials)} of {search.trials} trials in search.seconds = {search.seconds:g}")
            break
        asked = study.ask()
        name = asked.suggest_categorical("model", list(models))
        values = {path: _suggest(asked, _name(name, path), c) for path, c in choices[name].items()}
        trial = _run_trial(asked, name, values, search, scores(with_values(models[name], values)))
        _tell(study, asked, trial)
        trials.append(trial)
        if trial.state == "complete" and (best is None or trial.loss < trials[best].loss):
            best = len(trials) - 1
        note_progress(f"{len(trials)} of {search.trials} trials")
        print(_line(len(trials) - 1, trial, best == len(trials) - 1), flush=True)
    if best is None:
        raise UserError(
            f"none of {len(trials)} trials has a finite loss. Lower optimizer.learning_rate in "
            f"`space`."
        )
    winner = with_values(models[trials[best].model], trials[best].values)
    return SearchResult(trials, best, winner, _importances(study, trials, seed))


def _run_trial(
    asked: optuna.Trial,
    name: str,
    values: dict[Path, Any],
    search: Search,
    scores: Iterable[tuple[float, float]],
) -> Trial:
    trial = Trial(name, values)
    for step, (loss, accuracy) in enumerate(scores):
        if not np.isfinite(loss):
            return trial
        trial.losses.append(loss)
        trial.accuracies.append(accuracy)
        asked.report(trial.loss, step)
        if step + 1 < search.folds and asked.should_prune():
            trial.state = "pruned"
            return trial
    trial.state = "complete"
    return trial


def _tell(study: optuna.Study, asked: optuna.Trial, trial: Trial) -> None:
    if trial.state == "complete":
        study.tell(asked, trial.loss)
    else:
        pruned = trial.state == "pruned"
        study.tell(asked, state=optuna.trial.TrialState[("FAIL", "PRUNED")[pruned]])


def _suggest(asked: optuna.Trial, name: str, choices: Range | list[Any]) -> Any:
    if isinstance(choices, list):  # as text, since Optuna takes no lists
        return json.loads(asked.suggest_categorical(name, [json.dumps(c) for c in choices]))
    if isinstance(choices.low, int) and isinstance(choices.high, int):
        return asked.suggest_int(name, choices.low, choices.high, log=choices.log)
    value = asked.suggest_float(name, choices.low, choices.high, log=choices.log)
    return min(max(float(f"{value:.{DIGITS}g}"), choices.low), choices.high)


def _starting_point(
    name: str, model: dict[str, Any], choices: dict[Path, Range | list[Any]]
) -> dict[str, Any]:
    """Return the values that the model has, as Optuna takes them, if the space has them too."""
    start: dict[str, Any] = {}
    for path, values in choices.items():
        own: Any = model
        for key in path:
            own = own.get(key) if isinstance(own, dict) else None
        if isinstance(values, list):
            if own in values:
                start[_name(name, path)] = json.dumps(values[values.index(own)])
        elif own is not None and values.low <= own <= values.high:
            start[_name(name, path)] = own
    return start


def _importances(
    study: optuna.Study, trials: list[Trial], seed: int
) -> list[tuple[str, str, float]]:
    """Return the importance of each parameter of each model by fANOVA, on its complete trials.

    Source: Hutter et al. 2014, "An Efficient Approach for Assessing Hyperparameter Importance".
    """
    found = []
    for model in dict.fromkeys(trial.model for trial in trials):
        complete = [t for t in trials if t.model == model and t.state == "complete"]
        paths = list(complete[0].values) if complete else []
        if len(complete) < LEAST_TRIALS or not paths or len({t.loss for t in complete}) == 1:
            continue
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        names = [_name(model, path) for path in paths]
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)
        found += [(model, name[len(model) + 1 :], float(v)) for name, v in shares.items()]
    return found


def _name(model: str, path: Path) -> str:
    return ".".join([model, *path])


def _line(number: int, trial: Trial, best: bool) -> str:
    values = ", ".join(f"{'.'.join(path)}={value}" for path, value in trial.values.items())
    if not trial.losses:
        return f"trial {number}: {trial.state}: {trial.model} {values}"
    accuracy = float(np.mean(trial.accuracies))
    score = f"log loss {trial.loss:.4f}, accuracy {accuracy:.2%}"
    state = "" if trial.state == "complete" else f", {trial.state} after {len(trial.losses)} folds"
    return f"trial {number}: {score}{state}{', best' if best else ''}: {trial.model} {values}"
