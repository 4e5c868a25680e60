"""Small pipelines in clones, each with its own cache and store."""

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
# conf/config.yaml of a small pipeline: all stages, quick by a small random backbone and a logistic
# regression on its features
SMALL = """\
defaults:
  - dataset: cats_dogs
  - backbone@backbones.mobile: mobilenet_v2
  - subnet@subnets.logistic: logistic
  - runtime: local
  - _self_
  - experiment: null
derived: ${thaw.derived:}
seed: 0
threads: null
backbones: {mobile: {weights: random}}
subnets: {logistic: {features: mobile}}
networks: {}
finetunes: {}
audits: {}
evaluate: {bootstrap: 100, ece_bins: 15, gallery: 12}
"""


class Clone(Project):
    """A copy of this repository's files, or a Git clone of one, with its own cache and store.

    Args:
        of: the clone to clone; None copies this repository's files.
        mirror: a folder with the dataset; None: nothing can be downloaded.
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
        # DVC's site cache knows other clones' files; another machine would not
        self.dvc("config", "--local", "core.site_cache_dir", f"{folder}.site")

    def copy(self, folder: Path) -> "Clone":
        """Copy the clone with its cache to another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        copied = object.__new__(Clone)
        copied.folder, copied.environment = folder, dict(self.environment)
        copied.dvc("config", "--local", "core.site_cache_dir", f"{folder}.site")
        return copied

    def use(self, remote, url: bool = True) -> None:
        """Set the default remote: its URL in .dvc/config, its secrets in .dvc/config.local."""
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
        """Run `dvc repro` and return the stages that it executed."""
        return self.ran(self.dvc("repro", *arguments))

    def outs(self) -> dict[str, str]:
        """Return the MD5 that dvc.lock has for each output, by path."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        return {o["path"]: o["md5"] for s in lock["stages"].values() for o in s.get("outs", ())}

    def object(self, md5: str, of: Path | None = None) -> Path:
        """Return the path of an object in the cache, or in a remote's folder."""
        return (of or self.cache) / "files" / "md5" / md5[:2] / md5[2:]

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start `dvc ARGUMENTS` in the background."""
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
    """Write an archive of `count` generated photographs to `folder`, and return its SHA-256."""
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
    """Return a folder with an archive of 60 photographs."""
    folder = tmp_path_factory.mktemp("mirror")
    archive(folder, 60)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory, mirror) -> Clone:
    """Return a clone with the small pipeline run and committed. Clone it, do not change it."""
    clone = Clone(tmp_path_factory.mktemp("trained") / "project", mirror=mirror)
    clone.choose(mirror)
    clone.dvc("exp", "run")
    clone.commit("trained")
    return clone
