"""The five lines that `thaw report` prints, after a run with real stages."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.thaw.report.conftest import parameters
from thaw.cli.main import command
from thaw.report.answer import Answer, find_answer
from thaw.report.run_results import find_results


def summary(capsys) -> list[str]:
    capsys.readouterr()
    assert command(["report"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if not line.startswith("thaw: ")]  # missing results


def test_a_report_ends_with_model_accuracy_baseline_page_and_next_step(inside, capsys):
    model, accuracy, baseline, page, step = summary(capsys)
    details = json.loads(Path("results/details/logistic.json").read_text())
    validation = details["validation"]
    assert model.startswith("Best model:     logistic. Selected by validation data: highest ")
    assert f"{100 * validation['accuracy']:.1f} % of {validation['count']} images" in model
    values = [details["metrics"]["accuracy"], *details["intervals_95"]["accuracy"]]
    assert re.findall(r"([\d.]+) %", accuracy.replace("95 %", "")) == [
        f"{100 * value:.1f}" for value in values
    ]
    assert f"of {details['counts']['test']} images" in accuracy
    text = Path("report/index.html").read_text().replace("\u00a0", " ")
    always = re.fullmatch(r"Baseline:       ([\d.]+ %) by always predicting disc", baseline)
    assert always and f"is correct for {always[1]} of the test images" in text
    assert page.startswith("Report:         report/index.html (")
    assert step.startswith("Next:           dvc exp run -S ")


def answer(**changes) -> Answer:
    values = yaml.safe_load(Path("params.yaml").read_text())
    for key, value in changes.items():
        values[key].update(value)
    Path("params.yaml").write_text(yaml.safe_dump(values))
    return find_answer(find_results())


def composes(command: str) -> dict:
    return parameters("models=vgg16", *command.removeprefix("dvc exp run -S ").split(" -S "))


def test_the_next_step_follows_from_the_results_and_its_command_composes(inside):
    images = pd.read_csv("results/audits/vgg16/images.csv", dtype=str)
    tested = images.index[images["split"] == "test"]
    images.loc[tested, "training_similarity"] = "0.5"
    images.to_csv("results/audits/vgg16/images.csv", index=False)
    searched, effect = answer().next_step
    assert "hyperparameters" in effect
    assert composes(searched)["subnets"]["tuned"]["features"] == "vgg16"
    images.loc[tested[:3], "training_similarity"] = "0.995"
    images.to_csv("results/audits/vgg16/images.csv", index=False)
    grouped, _ = answer().next_step
    assert composes(grouped)["dataset"]["split"]["group"] == "near_duplicates"
    tuned = parameters("models=vgg16", "+subnet@subnets.tuned=tuned")["subnets"]["tuned"]
    split = {**parameters()["dataset"]["split"], "group": "near_duplicates"}
    step = answer(subnets={"tuned": tuned}, dataset={"split": split}).next_step[0]
    assert step == "thaw predict PHOTOS"


def test_a_fine_tuned_model_is_compared_with_its_start(inside):
    finetuned = parameters("models=vgg16")["finetunes"]["finetuned"]
    details = json.loads(Path("results/details/logistic.json").read_text())
    details |= {"model": "finetuned", "validation": {**details["validation"], "accuracy": 1.0}}
    Path("results/details/finetuned.json").write_text(json.dumps(details))
    found = answer(finetunes={"finetuned": finetuned})
    assert found.model.name == "finetuned"
    start = f"{100 * details['metrics']['accuracy']:.1f} % by logistic, before fine-tuning"
    assert found.lines()[-1].endswith(start)


@pytest.mark.parametrize("active", [False, True])
def test_the_next_step_activates_the_environment_if_none_is_active(
    inside, capsys, monkeypatch, active
):
    Path(".venv/bin").mkdir(parents=True)
    Path(".venv/bin/activate").touch()
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    if active:
        monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    assert ("source .venv/bin/activate && dvc" in summary(capsys)[-1]) != active
