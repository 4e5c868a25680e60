"""Special characters in paths and classes, and invalid stores and configurations."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.test_interrupted import artifacts_of
from tests.faults.test_verify import thaw
from tests.pipeline.conftest import Project, draw
from tests.pipeline.test_pipeline import overrides

SPECIAL = "a b\nc ü 'q' \"r\" $(touch owned) ;#%[x]*"
PIPELINE = [
    "dataset=folder",
    "dataset.source.path=photos",
    "dataset.image.size=32",
    "backbones.vgg16.weights=random",
    "subnets.fc256.epochs=1",
    "subnets.gap256.epochs=1",
    "finetunes.finetuned.epochs=1",
    "finetunes.finetuned.augmented_views=1",
    "evaluate.bootstrap=100",
]


def project(folder, name: str) -> Project:
    """Make a project and a store named `name`, with special characters in a class and a file."""
    (folder / name).mkdir(parents=True)
    new_project = Project(folder / name, folder / f"store {name}")
    photos = draw(new_project.folder / "photos", {"disc": 20, "square": 20})
    (photos / "disc").rename(photos / f"disc {SPECIAL}")
    image = sorted((photos / "square").iterdir())[0]
    image.rename(image.with_name(f"one\t{SPECIAL}{image.suffix}"))
    return new_project


def test_special_characters_change_no_artifact(tmp_path):
    plain, special = project(tmp_path / "one", "plain"), project(tmp_path / "other", SPECIAL)
    for each in (plain, special):
        output = each.dvc("exp", "run", *overrides(*PIPELINE))
        assert "Traceback" not in output
        assert each.ran(each.dvc("repro")) == ["scan@folder"]
    assert artifacts_of(plain) == artifacts_of(special)
    code, table = thaw(special, "predict", "logistic", "photos", "--json")
    assert code == 0 and len([line for line in table.splitlines() if line.startswith("{")]) == 40
    code, output = thaw(special, "report")
    assert code == 0, output
    assert (special.folder / "report" / "index.html").stat().st_size > 100_000
    assert not list(tmp_path.glob("**/owned"))


STORES = {
    "a file": "file",
    "below a file": "file/store",
    "too long": "x" * 300,
    "in a folder of the kernel": "/proc/store",
    "a link to itself": "loop",
}
CONFIGS = {"no section": b"dir = x\n", "binary": bytes(range(256)), "UTF-16": b"\xff\xfe[\0c\0"}


@pytest.fixture
def stage_error(tmp_path):
    """Return a function that runs a stage, which must fail with one line."""
    (tmp_path / "project").mkdir()
    new_project = Project(tmp_path / "project", tmp_path / "store")
    draw(new_project.folder / "photos", {"disc": 6, "square": 6})
    new_project.dvc("exp", "run", *overrides(*PIPELINE), "conf")

    def error_line(**environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "thaw.runtime.stage", f"{ROOT}/stages/scan.py", "folder"],
            cwd=new_project.folder,
            env={**new_project.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        (line,) = done.stderr.splitlines()
        return line

    error_line.project = new_project
    return error_line


@pytest.mark.parametrize("case", STORES)
def test_a_store_that_cannot_be_created_is_refused(stage_error, case):
    folder = stage_error.project.folder
    (folder / "file").write_text("here already")
    (folder / "loop").symlink_to("loop")
    line = stage_error(THAW_STORE=STORES[case])
    assert line.startswith("thaw: THAW_STORE = ") and "Set THAW_STORE to a folder of yours" in line
    assert (folder / "file").read_text() == "here already"


@pytest.mark.parametrize("case", CONFIGS)
def test_an_invalid_configuration_of_dvc_is_refused(stage_error, case):
    (stage_error.project.folder / ".dvc" / "config").write_bytes(CONFIGS[case])
    del stage_error.project.environment["THAW_STORE"]
    assert re.match(r"thaw: .*\.dvc/config cannot be read: .+ Expected DVC's conf", stage_error())


def test_a_damaged_cache_of_scan_is_written_again(stage_error):
    """Stage scan caches the digests of the files that it has read."""
    project = stage_error.project
    command = [sys.executable, "-m", "thaw.runtime.stage", f"{ROOT}/stages/scan.py", "folder"]

    def scan() -> bytes:
        subprocess.run(command, cwd=project.folder, env=project.environment, check=True)
        return (project.folder / "data" / "inventory.csv").read_bytes()

    expected = scan()
    (cache,) = Path(project.environment["THAW_STORE"], "scanned").iterdir()
    good = cache.read_bytes()
    for damaged in (
        b"",
        b"[]",
        b"{",
        b"null",
        b"\xff\xfe",
        good.replace(b"[", b"{").replace(b"]", b"}"),
    ):
        cache.write_bytes(damaged)
        assert scan() == expected
    values = json.loads(good)
    cache.write_text(json.dumps(dict.fromkeys(values, 7)))
    assert scan() == expected
    assert cache.read_bytes() == good
