"""Folders, files, classes and environment variables with every letter that a path may have."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.test_interrupted import made
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
    """A project in a folder called `name`, with a store of that name and pictures of a class and of
    a file of special names."""
    (folder / name).mkdir(parents=True)
    made_here = Project(folder / name, folder / f"store {name}")
    photos = draw(made_here.folder / "photos", {"disc": 20, "square": 20})
    (photos / "disc").rename(photos / f"disc {SPECIAL}")
    one = sorted((photos / "square").iterdir())[0]
    one.rename(one.with_name(f"one\t{SPECIAL}{one.suffix}"))
    return made_here


def test_special_letters_change_nothing(tmp_path):
    plain, special = project(tmp_path / "one", "plain"), project(tmp_path / "other", SPECIAL)
    for each in (plain, special):
        said = each.dvc("exp", "run", *overrides(*PIPELINE))
        assert "Traceback" not in said
        assert each.ran(each.dvc("repro")) == ["scan@folder"]
    assert made(plain) == made(special)
    code, table = thaw(special, "predict", "logistic", "photos", "--json")
    assert code == 0 and len([line for line in table.splitlines() if line.startswith("{")]) == 40
    code, said = thaw(special, "report")
    assert code == 0, said
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
def refuses(tmp_path):
    """A function that runs a stage which must refuse, in one line."""
    (tmp_path / "project").mkdir()
    made_here = Project(tmp_path / "project", tmp_path / "store")
    draw(made_here.folder / "photos", {"disc": 6, "square": 6})
    made_here.dvc("exp", "run", *overrides(*PIPELINE), "conf")

    def refuses(**environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "thaw.runtime.stage", f"{ROOT}/stages/scan.py", "folder"],
            cwd=made_here.folder,
            env={**made_here.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        (line,) = done.stderr.splitlines()
        return line

    refuses.project = made_here
    return refuses


@pytest.mark.parametrize("case", STORES)
def test_a_store_that_cannot_be_made_is_refused(refuses, case):
    folder = refuses.project.folder
    (folder / "file").write_text("here already")
    (folder / "loop").symlink_to("loop")
    line = refuses(THAW_STORE=STORES[case])
    assert line.startswith("thaw: THAW_STORE = ") and "Set THAW_STORE to a folder of yours" in line
    assert (folder / "file").read_text() == "here already"


@pytest.mark.parametrize("case", CONFIGS)
def test_a_configuration_of_dvc_that_is_none_is_refused(refuses, case):
    (refuses.project.folder / ".dvc" / "config").write_bytes(CONFIGS[case])
    del refuses.project.environment["THAW_STORE"]
    assert re.match(r"thaw: .*\.dvc/config cannot be read: .+ Expected DVC's conf", refuses())


def test_notes_that_took_harm_are_made_anew(refuses):
    """What `scan` remembers of the files it has read."""
    here = refuses.project
    command = [sys.executable, "-m", "thaw.runtime.stage", f"{ROOT}/stages/scan.py", "folder"]

    def scan() -> bytes:
        subprocess.run(command, cwd=here.folder, env=here.environment, check=True)
        return (here.folder / "data" / "inventory.csv").read_bytes()

    whole = scan()
    (note,) = Path(here.environment["THAW_STORE"], "scanned").iterdir()
    good = note.read_bytes()
    for harm in (
        b"",
        b"[]",
        b"{",
        b"null",
        b"\xff\xfe",
        good.replace(b"[", b"{").replace(b"]", b"}"),
    ):
        note.write_bytes(harm)
        assert scan() == whole
    values = json.loads(good)
    note.write_text(json.dumps(dict.fromkeys(values, 7)))
    assert scan() == whole
    assert note.read_bytes() == good
