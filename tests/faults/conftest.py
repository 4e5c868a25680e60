"""Small pipelines in clones that have each a cache and a store of their own."""

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.photograph import photograph
from tests.pipeline.conftest import Project
from thaw.data.download.mirror import sha256

ARCHIVE = "cats_and_dogs_filtered.zip"
SMALL = """\
defaults:
  - dataset: cats_dogs
  - backbone@backbones.mobile: mobilenet_v2
  - subnet@subnets.logistic: logistic
  - runtime: local
  - _self_
  - experiment: null
scheme: ${thaw.scheme:}
seed: 0
threads: null
backbones: {mobile: {weights: random}}
subnets: {logistic: {features: mobile}}
networks: {}
finetunes: {}
doubts: {}
evaluate: {bootstrap: 100, ece_bins: 15, gallery: 12}
"""
"""conf/config.yaml for a small pipeline: every stage is real and quick, with a small backbone with
random weights and logistic regression on its features."""


class Clone(Project):
    """A copy of this repository's files, or a clone of one, with its own cache and store in it.

    Args:
        of: the clone that is cloned; none: this repository's files are copied.
        mirror: a folder with the dataset; where there is none, nothing can be downloaded.
    """

    def __init__(self, folder: Path, of: "Clone | None" = None, mirror: Path | None = None):
        if of is None:
            folder.mkdir(parents=True)
            super().__init__(folder, folder / "unused")
        else:
            self.folder, self.environment = folder, dict(of.environment)
            self._git("clone", "--quiet", str(of.folder), str(folder), at=of.folder)
            self._git("config", "user.name", "colleague")
            self._git("config", "user.email", "colleague@localhost")
        self.environment.pop("THAW_STORE", None)
        self.environment.pop("THAW_MIRROR", None)
        if mirror:
            self.environment["THAW_MIRROR"] = str(mirror)
        # every clone has its own memory of what lies where, as on another machine
        self.dvc("config", "--local", "core.site_cache_dir", f"{folder}.site")

    def copy(self, folder: Path) -> "Clone":
        """The same, cache and all, in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        twin = object.__new__(Clone)
        twin.folder, twin.environment = folder, dict(self.environment)
        twin.dvc("config", "--local", "core.site_cache_dir", f"{folder}.site")
        return twin

    def use(self, remote, url: bool = True) -> None:
        """Take `remote` for the team's, its secrets in .dvc/config.local. Its url is in git."""
        if url:
            self.dvc("remote", "add", "--default", "--force", "team", remote.url)
            self.dvc("remote", "modify", "team", "verify", "true")
            self.commit("remote")
        for name, value in remote.settings.items():
            self.dvc("remote", "modify", "--local", "team", name, value)

    def choose(self, mirror: Path) -> None:
        """Make the small pipeline on `mirror`'s archive the default."""
        (self.folder / "conf/config.yaml").write_text(SMALL)
        dataset = self.folder / "conf/dataset/cats_dogs.yaml"
        text = re.sub("sha256: .*", f"sha256: {sha256(mirror / ARCHIVE)}", dataset.read_text())
        dataset.write_text(re.sub("(?m)^  size: .*", "  size: 32", text))
        self.commit("a small pipeline")

    @property
    def cache(self) -> Path:
        return self.folder / ".dvc" / "cache"

    def repro(self, *arguments: str) -> list[str]:
        """The stages that `dvc repro` executes."""
        return self.ran(self.dvc("repro", *arguments))

    def outs(self) -> dict[str, str]:
        """What dvc.lock has for every output: its MD5 by its path."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        return {o["path"]: o["md5"] for s in lock["stages"].values() for o in s.get("outs", ())}

    def object(self, md5: str, of: Path | None = None) -> Path:
        """The file of an object in the cache, or in a remote's folder."""
        return (of or self.cache) / "files" / "md5" / md5[:2] / md5[2:]

    def start(self, *arguments: str) -> subprocess.Popen:
        """`dvc ARGUMENTS` running by itself."""
        return subprocess.Popen(
            [Path(self.environment["PATH"].split(os.pathsep)[0]) / "dvc", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def overrides(*chosen: str) -> list[str]:
    return [argument for override in chosen for argument in ("-S", override)]


def archive(folder: Path, count: int, seed: int = 0) -> str:
    """Draw a published archive of `count` stand-in photographs into `folder`; its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    with zipfile.ZipFile(folder / ARCHIVE, "w") as opened:
        for number in range(count):
            split = "train" if number % 3 else "validation"
            label = "cats" if number % 2 else "dogs"
            opened.writestr(f"{split}/{label}/{number}.jpg", photograph(random))
    return sha256(folder / ARCHIVE)


@pytest.fixture(scope="session")
def mirror(tmp_path_factory) -> Path:
    """A folder with the archive of 60 photographs."""
    folder = tmp_path_factory.mktemp("mirror")
    archive(folder, 60)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory, mirror) -> Clone:
    """A clone in which the small pipeline was run and committed. Clone it, do not change it."""
    clone = Clone(tmp_path_factory.mktemp("trained") / "project", mirror=mirror)
    clone.choose(mirror)
    clone.dvc("exp", "run")
    clone.commit("trained")
    return clone
