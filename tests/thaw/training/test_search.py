"""Trials are asked and told in order, and depend on the scores and the seed alone."""

import pytest

from thaw.config.search import Search
from thaw.errors import UserError
from thaw.training.search import run_search

MODELS = {"a": {"x": 0.5, "kind": "a"}, "b": {"x": 0.5, "n": 2, "deep": {"y": 1.0}, "kind": "b"}}
SPACE = {
    "a": {"x": {"low": 0.0, "high": 1.0}},
    "b": {
        "x": {"low": 0.0, "high": 1.0},
        "n": {"low": 1, "high": 4},
        "deep": {"y": {"low": 0.01, "high": 10.0, "log": True}},
        "units": [[], [8], [8, 8]],
    },
}
BEST = 0.3  # value of x with the lowest loss


def search(trials: int = 40, seconds: float | None = None, folds: int = 3) -> Search:
    return Search(trials=trials, folds=folds, seconds=seconds)


def quadratic(parameters: dict):
    """Yield the scores of three folds of one difficulty each."""
    for fold in range(3):
        loss = 1 + fold / 10 + (parameters["x"] - BEST) ** 2 + (parameters["kind"] == "a")
        yield loss, 1 - loss / 10


def test_the_winner_is_near_the_optimum_and_two_searches_are_equal():
    first = run_search(MODELS, SPACE, search(), 0, quadratic)
    second = run_search(MODELS, SPACE, search(), 0, quadratic)
    assert first.winner["kind"] == "b" and abs(first.winner["x"] - BEST) < 0.1
    assert first.winner == second.winner and first.importances == second.importances
    assert first.trials_table().equals(second.trials_table())
    other = run_search(MODELS, SPACE, search(), 1, quadratic)
    assert not other.trials_table().equals(first.trials_table())


def test_the_models_are_tried_first_as_they_are():
    tried = []

    def scores(parameters):
        tried.append(parameters)
        yield from quadratic(parameters)

    run_search(MODELS, SPACE, search(4), 0, scores)
    assert tried[0] == MODELS["a"]
    assert {key: tried[1][key] for key in MODELS["b"]} == MODELS["b"]
    assert MODELS["b"] == {"x": 0.5, "n": 2, "deep": {"y": 1.0}, "kind": "b"}, "not changed"


def test_values_are_of_the_declared_kind():
    for trial in run_search(MODELS, SPACE, search(), 0, quadratic).trials:
        for (name, *_), value in trial.values.items():
            if name == "units":
                assert value in ([], [8], [8, 8])
            elif name == "n":
                assert isinstance(value, int) and 1 <= value <= 4
            else:
                assert len(f"{value:e}".split("e")[0].rstrip("0")) <= 5, "four digits"


def test_a_trial_worse_than_the_median_is_pruned_after_two_folds():
    found = run_search(MODELS, SPACE, search(), 0, quadratic)
    folds = {trial.state: len(trial.losses) for trial in found.trials}
    assert folds == {"complete": 3, "pruned": 2}
    assert found.trials[found.best].state == "complete"


def test_the_parameter_that_decides_is_the_most_important():
    found = run_search(MODELS, SPACE, search(), 0, quadratic)
    model, name, share = max(
        (row for row in found.importances if row[0] == "b"), key=lambda row: row[2]
    )
    assert (model, name) == ("b", "x") and share > 0.5
    assert found.importance_table().columns.tolist() == ["parameter", "importance"]


def test_a_budget_stops_the_search_after_the_first_complete_trial(capsys):
    found = run_search(MODELS, SPACE, search(seconds=1e-9), 0, quadratic)
    assert len(found.trials) == 1
    assert "1 of 40 trials in search.seconds" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_fails_its_trial_and_not_the_search():
    def scores(parameters):
        yield float("nan") if parameters["x"] > 0.4 else 1.0, 0.5

    found = run_search(MODELS, SPACE, search(folds=2), 0, scores)
    assert {trial.state for trial in found.trials} >= {"failed", "complete"}
    with pytest.raises(UserError, match="none of 5 trials has a finite loss"):
        run_search(MODELS, SPACE, search(5), 0, lambda _: [(float("inf"), 0.0)])


def test_the_table_has_a_row_for_each_trial_and_a_column_for_each_parameter():
    table = run_search(MODELS, SPACE, search(12), 0, quadratic).trials_table()
    assert table["trial"].tolist() == list(range(12))
    assert {"fold0", "fold2", "a.x", "b.deep.y", "b.units"} <= set(table)
    best = table.loc[table["state"] == "complete", "log_loss"].min()
    assert table["best_log_loss"].iloc[-1] == best
