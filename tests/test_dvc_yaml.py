"""dvc.yaml names, for each stage, exactly the code that the stage runs."""

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
