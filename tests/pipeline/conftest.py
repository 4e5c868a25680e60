"""The project as a user has it: its own folder, its own git, its own cache, driven by dvc."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dvc.utils.serialize import dump_yaml
from PIL import Image

from tests.pipeline.warm import warm_python
from thaw.composition import compose

ROOT = Path(__file__).parents[2]


class Project:
    """A copy of this repository's files in a folder of its own, under git, with one backbone.

    Args:
        folder: an empty folder, or a copy of a project.
        store: of the project.
        python: runs DVC, and is the `python` of the stages.
    """

    python = sys.executable

    def __init__(self, folder: Path, store: Path, python: str = python):
        self.folder, self.python = folder, python
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "THAW_"))},
            "PATH": os.pathsep.join(
                [str(Path(python).parent), str(Path(sys.executable).parent), os.environ["PATH"]]
            ),
            "THAW_STORE": str(store),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": f"{folder}.site",
        }
        if not (folder / ".git").exists():
            self._create(store)

    def _create(self, store: Path) -> None:
        folder = self.folder
        listed = self._git("ls-files", "-z", "--cached", "--others", "--exclude-standard", at=ROOT)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file() and not name.startswith("results/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        (folder / "dvc.lock").unlink(missing_ok=True)
        config = folder / "conf/config.yaml"
        config.write_text(config.read_text().replace("models: transfer", "models: vgg16"))
        with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
            patch.setenv("THAW_STORE", str(store))
            dump_yaml("params.yaml", compose())
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("config", "user.name", "tester")
        self._git("config", "user.email", "tester@localhost")
        self.commit("start")

    def _git(self, *arguments: str, at: Path | None = None) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=at or self.folder,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def commit(self, message: str) -> None:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", message)

    def dvc(self, *arguments: str, fails: bool = False) -> str:
        """Run `dvc ARGUMENTS`, assert that it succeeds or fails, and return its output."""
        done = subprocess.run(
            [self.python, "-m", "dvc", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = done.stdout
        assert (done.returncode != 0) == fails, said
        return said

    @staticmethod
    def ran(said: str) -> list[str]:
        """The stages that a run executed, in order."""
        return [
            line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")
        ]


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def python() -> Iterator[str]:
    with warm_python() as path:
        yield path


@pytest.fixture(scope="session")
def template(tmp_path_factory, store) -> Path:
    folder = tmp_path_factory.mktemp("template")
    Project(folder, store)
    return folder


@pytest.fixture
def project(tmp_path, store, template, python) -> Project:
    """A new project. `python` is started in a fork, but not with PYTHONPROFILEIMPORTTIME."""
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    return Project(folder, store, python)


def draw(folder: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Pictures that a small network can tell apart: noise with a bright disc or square."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :48]
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = random.integers(0, 120, (40, 48, 3))
            cy, cx = random.integers(12, 28, 2)
            inside = (
                (y - cy) ** 2 + (x - cx) ** 2 < 80
                if label == "disc"
                else np.maximum(abs(y - cy), abs(x - cx)) < 4
            )
            pixels[inside] += 130
            Image.fromarray(pixels.astype("uint8")).save(folder / label / f"{seed}-{number}.png")
    return folder
