"""Refusals and messages while Hydra composes conf/ for DVC."""

import shutil

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from tests.conftest import ROOT, files_in
from thaw.config.renamed import RENAMED

REFUSED = {
    "a misspelled new key": (
        ["+subnets.fc256.dropuot=0.3"],
        "subnets.fc256.dropuot is no parameter. Did you mean dropout? subnets.fc256 takes: ",
    ),
    "a misspelled key": (
        ["subnets.fc256.dropuot=0.3"],
        "subnets.fc256.dropuot=0.3: subnets.fc256.dropuot is no parameter. Did you mean dropout? "
        "subnets.fc256 takes: ",
    ),
    "a value out of range": (
        ["subnets.fc256.dropout=1.5"],
        "subnets.fc256.dropout = 1.5: input should be less than 1.",
    ),
    "an unknown subnet": (
        ["finetunes.finetuned.subnet=gap265"],
        "finetunes.finetuned.subnet = 'gap265': expected one of the composed subnets (fc256, "
        "gap256, logistic). Did you mean gap256?",
    ),
    "a removed subnet": (
        ["~subnet@subnets.logistic"],
        "finetunes.finetuned.subnet = 'logistic': expected one of the composed subnets (fc256, "
        "gap256).",
    ),
    "two models of one name": (
        ["+network@networks.fc256=small_cnn"],
        "networks.fc256 and subnets.fc256 have the same name",
    ),
    "null for a fine-tuning": (["finetunes.finetuned=null"], "finetunes.finetuned = None: "),
    "null for all fine-tunings": (["finetunes=null"], "finetunes = None: "),
    "null for all subnets": (["subnets=null"], "subnets = None: input should be a valid dict"),
    "no loss on the model's output": (
        ["+subnets.fc256.losses.main.output=hidden1"],
        "subnets.fc256.losses = {'main': {'function': 'cross_entropy', 'output': 'hidden1'}}: "
        "expected a term with output=null, on the model's own output.",
    ),
    "a missing required value": (
        ["dataset=folder"],
        "dataset.source.path has no default. Set it with -S dataset.source.path=VALUE.",
    ),
    "an unknown optimizer": (
        ["subnets.fc256.optimizer.name=adm"],
        "subnets.fc256.optimizer.name = 'adm': expected one of adam, adamw, rmsprop, sgd. "
        "Did you mean adam?",
    ),
    "a parameter of another optimizer": (
        ["subnets.fc256.optimizer.momentum=0.5"],
        "subnets.fc256.optimizer.momentum=0.5: subnets.fc256.optimizer.momentum is no parameter. "
        "subnets.fc256.optimizer takes: name, learning_rate, epsilon.",
    ),
    "a derived parameter": (
        ["derived.scheme=x"],
        "derived.scheme=x: derived.scheme is computed from the other parameters.",
    ),
    "a new derived parameter": (
        ["+derived.mine=x"],
        "+derived.mine=x: derived.mine is computed from the other parameters.",
    ),
    "the old name of a parameter": (
        ["dataset.limit=3"],
        "dataset.limit=3: dataset.limit was renamed to dataset.max_train_images.",
    ),
    "the old name of a new parameter": (
        ["+dataset.limit=3"],
        "dataset.limit was renamed to dataset.max_train_images.",
    ),
    "a key below the old name of a section": (
        ["doubts.vgg16.near=0.9"],
        "doubts.vgg16.near=0.9: doubts was renamed to audits.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_invalid_override_exits_with_one_line(composed, compose, case):
    overrides, start = REFUSED[case]
    with pytest.raises(SystemExit) as error:
        compose(*overrides)
    message = str(error.value.code)
    assert message.startswith(f"thaw: {start}") and "\n" not in message


@pytest.mark.parametrize("old", RENAMED)
def test_the_old_name_of_each_parameter_is_refused_with_its_new_name(composed, compose, old):
    group = "networks" if old.startswith("networks") else "subnets"
    key = old.replace("*.*", f"{group}.mine", 1).replace("*", "mine")
    with pytest.raises(SystemExit, match=rf"{key} was renamed to [a-zA-Z0-9_.]+\.$"):
        compose(f"{key}=1")


@pytest.fixture
def project(tmp_path):
    """Return a project's folder: conf/, dvc.yaml and the params.yaml of another composition."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for folder in (".dvc", "results/metrics", "photos"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "results/metrics/removed.json").write_text("{}")
    (tmp_path / "params.yaml").write_text("seed: 7\n")
    return tmp_path


def dump(project, *overrides: str) -> dict:
    """Compose params.yaml as DVC does, with one backbone."""
    overrides = ("models=vgg16", *overrides)
    file = str(project / "params.yaml")
    compose_and_dump(file, str(project / "conf"), None, "config", "", list(overrides))
    return yaml.safe_load((project / "params.yaml").read_text())


def test_composing_for_dvc_prints_the_changes_and_removes_stale_results(
    composed, project, monkeypatch, capsys
):
    monkeypatch.chdir(project)
    assert dump(project)["derived"] == composed["derived"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("thaw: params.yaml changes in ") and "  seed: 7 -> 0" in lines
    assert not (project / "results/metrics/removed.json").exists()


def test_composing_in_a_subfolder_is_refused_before_anything_is_written(
    composed, project, monkeypatch
):
    monkeypatch.chdir(project / "photos")
    before = files_in(project)
    with pytest.raises(SystemExit, match="^thaw: run this in the project's root folder: cd "):
        dump(project)
    assert files_in(project) == before
