"""The shape of dvc.yaml: a script for each stage, plain outputs, separable parameters."""

import re

import pytest
import yaml
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro

from tests.conftest import ROOT

TEXT = (ROOT / "dvc.yaml").read_text()
STAGES = yaml.safe_load(TEXT)["stages"]
MOST_LINES, MOST_SCRIPT_LINES = 260, 90


def body(stage: str) -> dict:
    return STAGES[stage].get("do", STAGES[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_its_own_short_script_and_depends_on_it(stage):
    assert body(stage)["cmd"].split(" ")[:3] == ["sh", "stages/run", stage]
    assert f"stages/{stage}.py" in body(stage)["deps"]
    assert len((ROOT / f"stages/{stage}.py").read_text().splitlines()) <= MOST_SCRIPT_LINES


def test_every_script_is_a_stage():
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert scripts == {*STAGES, "losses"}


def test_dvc_yaml_is_short():
    assert len(TEXT.splitlines()) < MOST_LINES


def test_a_model_is_evaluated_before_the_next_is_trained():
    """DVC keeps the order of dvc.yaml as far as the dependencies allow."""
    with Repo(str(ROOT)) as repo:
        order = [stage.addressing for stage in plan_repro(repo.index.graph)]
    assert order.index("evaluate@lite0_logistic") < order.index("train_subnet@lite0_gap256")
    assert order.index("evaluate@lite0_gap256") < order.index("features@vgg16")


def test_no_output_is_persistent():
    assert "persist" not in TEXT


@pytest.mark.parametrize("stage", STAGES)
def test_keys_that_the_run_cache_leaves_out_are_listed_by_themselves(stage, composed):
    """DVC leaves `size` and `nfiles` out of the key of its run cache wherever they stand, also in
    parameters: a section with such a key would be taken for the same whatever its value."""
    params = body(stage).get("params", ())
    for name in params:
        keys = re.sub(r"\$\{[^}]*\}", "*", name).split(".")
        left_out = {"size", "nfiles"} & set(_below([composed], keys))
        assert {f"{name}.{key}" for key in left_out} <= set(params), name


def _below(held: list, keys: list[str]):
    """The keys of every section that is found under `keys`, where * is any."""
    for key in keys:
        held = [
            value
            for section in held
            if isinstance(section, dict)
            for name, value in section.items()
            if key in ("*", name)
        ]
    while held:
        section = held.pop()
        if isinstance(section, dict):
            yield from section
            held += section.values()
