"""dvc.yaml names, for each stage, exactly the code that the stage runs."""

import re

import pytest
import yaml

from tests.code import ROOT, expected, imported

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def body(stage: str) -> dict:
    return STAGES[stage].get("do", STAGES[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_are_the_imports(stage):
    code = {dep for dep in body(stage)["deps"] if dep.startswith("stages/") and "$" not in dep}
    assert code == expected(stage), "run `python -m tests.code`"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_its_own_file_and_is_run_from_it(stage):
    assert body(stage)["cmd"].split(" ")[:4] == ["python", "-m", "stages", stage]
    assert (ROOT / "stages" / f"{stage}.py").exists()


def test_rooms_never_import_stages():
    stages = {f"stages/{name}.py" for name in STAGES}
    for path in sorted((ROOT / "stages").glob("*/*.py")):
        relative = path.relative_to(ROOT).as_posix()
        assert not imported(relative) & stages, relative


def test_no_output_is_persistent():
    assert "persist" not in (ROOT / "dvc.yaml").read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_no_section_that_is_tracked_holds_a_key_that_the_run_cache_leaves_out(stage, composed):
    """DVC leaves `size` and `nfiles` out of the key of its run cache wherever they stand, also in
    parameters: a section with such a key would be taken for the same whatever its value."""
    for name in body(stage).get("params", ()):
        keys = re.sub(r"\$\{[^}]*\}", "*", name).split(".")
        assert not {"size", "nfiles"} & set(_below([composed], keys)), name


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
