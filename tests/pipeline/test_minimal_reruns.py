"""A parameter reruns the stages that use it and what hangs on them, and no other.

The table is minimal_reruns.yaml. Nothing is trained here: outputs are placeholders that
`dvc commit` records, and DVC says what a changed parameter would run.
"""

import contextlib
import copy
import fnmatch
import functools
import re
import shutil
from pathlib import Path

import networkx
import pytest
import yaml
from dvc.dependency import param
from dvc.repo import Repo

from tests.conftest import ROOT
from tests.pipeline.conftest import Project
from thaw import composition
from thaw.composition import compose, derive

TABLE = yaml.safe_load(Path(__file__).with_name("minimal_reruns.yaml").read_text())
OTHER = {
    # names, where another value must be one that dvc.yaml can resolve
    "subnets.fc256.features": "second",
    "subnets.gap256.features": "second",
    "subnets.logistic.features": "second",
    "subnets.tuned.features": "second",
    "subnets.tuned.kind": "logistic",
    "subnets.tuned.heads.dense.losses.main.function": "README.md:mine",
    "finetunes.finetuned.subnet": "fc256",
    "audits.vgg16.features": "second",
    "networks.small_cnn.family": "dense",
    "subnets.fc256.losses.main.function": "README.md:mine",
    "subnets.gap256.losses.main.function": "README.md:mine",
    "networks.small_cnn.losses.main.function": "README.md:mine",
    "finetunes.finetuned.losses.main.function": "README.md:mine",
    "dataset.source.kind": "published",
}


def leaves(values: dict, prefix: str = "") -> dict:
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def changed(key: str, value):
    if key in OTHER:
        return OTHER[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, 1]
    return f"{value}2"


def put(values: dict, key: str, value) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values[section]
    values[last] = value


@pytest.fixture(scope="session")
def committed(tmp_path_factory, store, template):
    """A project with every stage of a wide composition recorded as done, and its parameters."""
    folder = tmp_path_factory.mktemp("settled") / "project"
    shutil.copytree(template, folder)
    project = Project(folder, store)
    (folder / "photos").mkdir()
    (folder / "photos" / "one").write_text("one")
    (folder / "README.md").touch()
    with contextlib.chdir(folder):
        values = compose(
            "dataset=folder",
            "dataset.source.path=photos",
            "+backbone@backbones.second=vgg16",
            "+network@networks.small_cnn=small_cnn",
            "+subnet@subnets.tuned=tuned",
        )
        write(values)
        with Repo() as repo:
            for stage in repo.index.stages:
                for out in stage.outs:
                    path = Path(out.fs_path)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(str(out))
        with Repo() as repo:
            repo.commit(force=True)
    return project, values


@pytest.fixture
def settled(committed, monkeypatch):
    """The folder and the parameters of `committed`, as the current folder."""
    project, values = committed
    monkeypatch.chdir(project.folder)
    write(values)
    return project.folder, copy.deepcopy(values)


@pytest.fixture
def parsed_once(monkeypatch):
    """Let DVC parse a params.yaml once, instead of once for each stage, and read conf/ once.

    A parameter is looked up by its keys. DVC searches all of params.yaml for it as a pattern, which
    takes half of the test's time.
    """
    monkeypatch.setattr(composition, "conf_digest", functools.cache(composition.conf_digest))
    contents: dict[bytes, dict] = {}
    load = param.load_path

    def load_once(path, fs, **kwargs):
        content = Path(path).read_bytes()
        if content not in contents:
            contents.clear()
            contents[content] = load(path, fs, **kwargs)
        return contents[content]

    def look_up(values, key, separator):
        for part in key.split(separator):
            if not isinstance(values, dict):
                raise KeyError(key)
            values = values[part]
        return values

    monkeypatch.setattr(param, "load_path", load_once)
    monkeypatch.setattr(param.dpath, "get", look_up)


def write(values: dict) -> None:
    with open("params.yaml", "w") as file:
        yaml.dump(values, file, yaml.CSafeDumper, sort_keys=False)


def with_descendants(repo: Repo, direct: set[str]) -> set[str]:
    graph = repo.index.graph.reverse()
    stages = {stage.addressing: stage for stage in graph.nodes}
    every = set(direct)
    for name in direct:
        every |= {stage.addressing for stage in networkx.descendants(graph, stages[name])}
    return every


def reached() -> set[str]:
    """The stages that `dvc status` reports as changed, and their descendants in the graph."""
    with Repo() as repo:
        direct = {
            name
            for name, reasons in repo.status().items()
            if not name.startswith("scan") or reasons != ["always changed"]
        }
        return with_descendants(repo, direct)


def reached_by_values(repo: Repo) -> set[str]:
    """The same for keys that dvc.yaml's `${...}` do not name: only recorded values can differ, and
    asking for these alone is ten times quicker."""
    return with_descendants(repo, naming_values(repo))


def naming_values(repo: Repo) -> set[str]:
    """The stages of which a value differs from the recorded one."""
    return {
        stage.addressing
        for stage in repo.index.stages
        for dep in stage.deps
        if isinstance(dep, param.ParamsDependency) and dep.status()
    }


def test_every_leaf_reaches_the_stages_in_the_table(settled, parsed_once):
    folder, values = settled
    assert reached() == set()
    wrong, both = {}, ("seed", "subnets.gap256.units")
    with Repo() as repo:
        assert repo.index.stages  # resolved now, with the values that are recorded
        for key, value in leaves(values).items():
            if key.startswith("derived."):
                continue
            edited = copy.deepcopy(values)
            put(edited, key, changed(key, value))
            edited["derived"] = derive(edited, folder)
            write(edited)
            resolved = edited["derived"] != values["derived"] or key in OTHER
            got = reached() if resolved else reached_by_values(repo)
            if key in both:
                assert got == reached()
            pattern = next((p for p in TABLE if fnmatch.fnmatchcase(key, p)), None)
            assert got or key.startswith("runtime."), f"{key} reaches no stage"
            if pattern is None or got != set(TABLE[pattern]):
                wrong[key] = sorted(got)
            if key.endswith(".digest"):  # of equal weights all else stays as it is
                assert naming_values(repo) == {f"weights@{key.split('.')[1]}"}
    assert not wrong


def test_another_scheme_reaches_every_stage(settled):
    _, values = settled
    values["derived"]["scheme"] = "1-another"
    write(values)
    with Repo() as repo:
        assert reached() == {stage.addressing for stage in repo.index.stages}


def test_dvc_yaml_resolves_nothing_but_derived_values_and_names():
    text = (ROOT / "dvc.yaml").read_text()
    named = {match.split(".")[0] for match in re.findall(r"\$\{([a-z_.]+)\}", text)}
    assert named == {"key", "item", "code", "derived", "backbones", "audits"}


def test_no_split_parameter_reaches_the_features():
    for key, stages in TABLE.items():
        if key.startswith("dataset.split"):
            assert not any(stage.startswith("features") for stage in stages)
