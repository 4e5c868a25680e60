import json
import random
from pathlib import Path

import numpy as np
import pytest

from thaw.errors import UserError
from thaw.evaluation.selection import inference_cost, select_model, write_best
from thaw.storage.npz import save_npz


def evaluated(model: str, accuracy: float, log_loss: float = 0.3, cost: int = 10) -> dict:
    """Return the part of results/validation/NAME.json that the selection reads."""
    validation = {"accuracy": accuracy, "log_loss": log_loss, "count": 400}
    return {"model": model, "validation": validation, "cost": cost}


def test_the_highest_validation_accuracy_wins_whatever_the_cost():
    models = [evaluated("a", 0.97), evaluated("b", 0.9725, cost=10**9), evaluated("c", 0.5)]
    best = select_model(models)
    assert best["model"] == "b"
    assert best["why"] == "highest validation accuracy of 3 models, 97.2 % of 400 images"
    assert [row["model"] for row in best["ranking"]] == ["b", "a", "c"]
    assert best["ranking"][2] == {
        "model": "c",
        "validation_accuracy": 0.5,
        "standard_error": 0.025,
        "validation_log_loss": 0.3,
        "validation_images": 400,
        "cost": 10,
    }


def test_ties_go_to_the_lower_cost_then_log_loss_then_name():
    order = [
        evaluated("d", 0.9, 0.9, cost=1),
        evaluated("c", 0.9, 0.1, cost=2),
        evaluated("a", 0.9, 0.2, cost=2),
        evaluated("b", 0.9, 0.2, cost=2),
    ]
    for seed in range(5):
        mixed = random.Random(seed).sample(order, len(order))
        assert [row["model"] for row in select_model(mixed)["ranking"]] == ["d", "c", "a", "b"]
    assert select_model(order)["why"].endswith("400 images; c has the same accuracy and costs more")
    assert select_model(order[1:])["why"].endswith(
        "400 images; a has the same accuracy and has no lower log loss"
    )


def test_accuracies_that_differ_by_less_than_a_shown_digit_are_no_tie():
    better = evaluated("better", 0.9000001, cost=20)
    best = select_model([evaluated("worse", 0.9), better])
    assert best["model"] == "better" and "the same" not in best["why"]


def test_one_model_is_the_best_with_and_without_validation_data():
    best = select_model([evaluated("mine", 0.9)])
    assert best["why"] == "the only model, validation accuracy 90.0 % of 400 images"
    best = select_model([{"model": "mine", "validation": None, "cost": 10}])
    assert best == {"model": "mine", "why": "the only model", "ranking": []}


def test_several_models_without_validation_data_have_no_best():
    models = [{"model": name, "validation": None, "cost": 10} for name in "ab"]
    why = "there is no validation data to choose by"
    assert select_model(models) == {"model": None, "why": why, "ranking": []}
    older = [evaluated("a", 0.9), {"model": "b"}]  # written before validation was measured
    assert select_model(older)["model"] is None
    assert select_model([]) == {"model": None, "why": "there are no models", "ranking": []}


def test_the_file_ranks_the_given_models_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("results/validation").mkdir(parents=True)
    for name, accuracy in {"a": 0.7, "b": 0.8, "removed": 0.9}.items():
        Path(f"results/validation/{name}.json").write_text(json.dumps(evaluated(name, accuracy)))
    write_best(["a", "b"])
    best = json.loads(Path("results/best.json").read_text())
    assert best["model"] == "b" and len(best["ranking"]) == 2
    assert capsys.readouterr().out.startswith("best model: b, highest validation accuracy of 2")


def test_the_cost_counts_the_backbone_and_every_view(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/weights").mkdir(parents=True)
    save_npz("data/weights/tiny.npz", {"kernel": np.zeros((3, 5)), "bias": np.zeros(5)})
    network = {"parameters": 7, "settings": {"seed": 0}, "backbone": None}
    assert inference_cost(network) == 7
    assert inference_cost({**network, "backbone": {"name": "tiny"}}) == 7 + 20
    for horizontal, vertical, views in ((True, True, 4), (True, False, 2), (False, False, 1)):
        flips = {"horizontal_flip": horizontal, "vertical_flip": vertical}
        settings = {"test_time_augmentation": True, "augmentation": flips}
        assert inference_cost({**network, "settings": settings}) == 7 * views
        settings["test_time_augmentation"] = False
        assert inference_cost({**network, "settings": settings}) == 7
    Path("data/weights/tiny.npz").write_bytes(b"cut")
    with pytest.raises(UserError, match="tiny.npz cannot be read"):
        inference_cost({**network, "backbone": {"name": "tiny"}})
