"""Images on S3 and WebDAV servers: what is downloaded when, and what a failure leaves."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import servers
from tests.faults.conftest import Clone
from tests.faults.test_interrupted import Repro
from tests.pipeline.conftest import draw
from thaw.cli.main import command
from thaw.config.base import read_params
from thaw.errors import UserError

COUNTS = {"disc": 12, "square #1": 12}
DATASET = """\
defaults:
  - dataset: folder
  - models: pixels
  - runtime: local
  - _self_
  - experiment: null
derived: ${thaw.derived:}
seed: 0
threads: null
backbones: {}
subnets: {}
networks: {}
finetunes: {}
audits: {}
evaluate: {bootstrap: 100, ece_bins: 15, gallery: 12}
"""
STAGES = ["scan@folder", "download", "preprocess", "split"]


def environment_of(kind: str, remote: servers.Remote) -> dict[str, str]:
    """Return the usual variables with which this user reads a server."""
    if kind == "webdav":
        user = [remote.settings["user"], remote.settings["password"]]
        return {"FSSPEC_WEBDAV": json.dumps({"auth": user})}
    return {
        "AWS_ENDPOINT_URL": remote.settings["endpointurl"],
        "AWS_ACCESS_KEY_ID": remote.settings["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": remote.settings["secret_access_key"],
    }


class Pets:
    """A clone whose images are on a server, in the folder `pets` of `remote`."""

    def __init__(self, folder: Path, kind: str, remote: servers.Remote) -> None:
        self.images = draw(remote.folder / "pets", COUNTS)
        self.address = f"{remote.url}/pets"
        self.clone = Clone(folder / "project")
        for name in [name for name in self.clone.environment if name.startswith("AWS_")]:
            del self.clone.environment[name]
        self.clone.environment |= environment_of(kind, remote)
        (self.clone.folder / "conf/config.yaml").write_text(DATASET)
        self.clone.commit("a small pipeline")

    def run(self, *chosen: str, fails: bool = False) -> str:
        values = (f"dataset.source.path={self.address}", "dataset.image.size=32", *chosen)
        overrides = [argument for value in values for argument in ("-S", value)]
        return self.clone.dvc("exp", "run", *overrides, "split", fails=fails)

    def table(self) -> str:
        return (self.clone.folder / "data/split.csv").read_text()


@contextlib.contextmanager
def pets(folder: Path, kind: str) -> Iterator[Pets]:
    with getattr(servers, kind)() as remote:
        yield Pets(folder, kind, remote)


@pytest.mark.parametrize("kind", ["s3", "webdav"])
def test_only_new_objects_are_downloaded_and_none_is_needed_later(kind, tmp_path):
    with pets(tmp_path, kind) as here:
        said = here.run()
        assert "downloaded 24 of 24 objects" in said
        assert here.clone.ran(said) == ["conf", *STAGES]
        assert here.clone.repro("split") == ["scan@folder"]
        draw(here.images, {"disc": 2}, seed=1)
        said = here.clone.dvc("repro", "split")
        assert "downloaded 2 of 26 objects" in said and "2 of 26 images are new" in said
        table = here.table()
        here.clone.commit("26 images")
    said = here.clone.dvc("repro", "split")  # the server has ended
    assert "cannot be reached" in said and "Using the inventory that dvc.lock records" in said
    assert here.clone.ran(said) == ["scan@folder"] and here.table() == table


@pytest.mark.parametrize("kind", ["s3", "webdav"])
def test_images_that_are_not_kept_give_the_same_split(kind, tmp_path):
    with pets(tmp_path, kind) as here:
        here.run()
        table = here.table()
        shutil.rmtree(here.clone.cache / "thaw")
        said = here.run("dataset.source.keep_raw=false")
        assert here.table() == table and "24 images in data/raw" in said
        raw = here.clone.folder / "data/raw"
        assert sorted(path.name for path in raw.iterdir()) == ["index.csv", "remote.csv"]
        kept = (here.clone.cache / "thaw/objects").iterdir()
        assert [path.suffix for path in kept] == [".digests"]
        draw(here.images, {"disc": 1}, seed=1)
        assert "1 of 25 images are new" in here.clone.dvc("repro", "split")


@pytest.mark.parametrize("kind", ["s3", "webdav"])
def test_archives_and_manifests_are_read_from_a_server(kind, tmp_path):
    with pets(tmp_path, kind) as here:
        here.run()
        table = here.table()
        parent = here.images.parent
        shutil.make_archive(str(parent / "pets"), "gztar", here.images)
        rows = [f"{p.relative_to(here.images)},{p.parent.name}" for p in here.images.rglob("*.png")]
        (parent / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
        address = here.address
        here.address = f"{address}.tar.gz"
        assert "downloaded 1 of 1 objects" in here.run() and here.table() == table
        here.address = f"{address.removesuffix('/pets')}/labels.csv"
        manifest = ("dataset=manifest", f"dataset.source.images={address}")
        said = here.run(*manifest)
        assert "24 rows, 24 images" in said and "downloaded 1 of 1 objects" in said
        assert here.table() == table
        assert here.clone.repro("split") == ["scan@folder"]


def test_a_killed_download_continues(tmp_path):
    with pets(tmp_path, "s3") as here:
        picture = next(here.images.rglob("*.png")).read_bytes()
        for number in range(1500):
            (here.images / "disc" / f"{number}.png").write_bytes(picture + b"%d" % number)
        objects = here.clone.cache / "thaw/objects"

        def count(_: str = "") -> bool:
            return sum(1 for _ in objects.glob("*/*-*.png")) > 200

        chosen = (f"dataset.source.path={here.address}", "dataset.image.size=32")
        overrides = [argument for value in chosen for argument in ("-S", value)]
        running = Repro(here.clone, "exp", "run", *overrides, "split")
        assert running.wait_for(count)
        os.killpg(running.process.pid, 9)
        running.process.wait()
        kept = sum(1 for _ in objects.glob("*/*-*.png"))
        said = here.run()
        assert f"downloaded {1524 - kept:,} of 1,524 objects" in said and 200 < kept < 1524
        assert not list(objects.glob("*/*.partial"))


def test_every_failure_is_one_message_and_loses_nothing(tmp_path):
    with pets(tmp_path, "s3") as here:
        here.run()
        here.clone.commit("trained")
        table, before = here.table(), dict(here.clone.environment)
        right = here.address
        cases = {
            ("address", "s3://nowhere/pets"): "s3://nowhere/pets does not exist",
            ("address", f"{right}-none"): f"{right}-none: there is no object below this address",
            ("address", f"{right}.zip"): f"{right}.zip does not exist",
            ("AWS_SECRET_ACCESS_KEY", "wrong"): f"{right}: access was refused",
            ("AWS_ACCESS_KEY_ID", None): f"{right}: no credentials were found",
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"): f"{right} cannot be reached",
        }
        for (name, value), message in cases.items():
            here.address, here.clone.environment = right, dict(before)
            if name == "address":
                here.address = value
            elif value is None:
                del here.clone.environment["AWS_ACCESS_KEY_ID"]
                del here.clone.environment["AWS_SECRET_ACCESS_KEY"]
                here.clone.environment["AWS_EC2_METADATA_DISABLED"] = "true"
            else:
                here.clone.environment[name] = value
            # with access refused or no answer, the recorded inventory is used if it is of this path
            recorded = name != "address"
            said = here.run(fails=not recorded)
            assert message in said and "Traceback" not in said, (name, value, said)
            assert ("Using the inventory" in said) == recorded
            assert here.table() == table
        here.address, here.clone.environment = right, dict(before)
        assert here.clone.ran(here.run()) == ["scan@folder"]


def test_a_refused_access_without_earlier_run_stops(tmp_path):
    with pets(tmp_path, "s3") as here:
        here.clone.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
        said = here.run(fails=True)
        assert said.count("access was refused") == 1 and "Traceback" not in said


@pytest.mark.parametrize("kind", ["s3", "webdav"])
def test_new_creates_a_project_for_images_on_a_server(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.delenv("THAW_STORE")
    with getattr(servers, kind)() as remote:
        for name, value in environment_of(kind, remote).items():
            monkeypatch.setenv(name, value)
        if kind == "webdav":  # fsspec reads its variables when it is imported
            monkeypatch.setitem(
                __import__("fsspec").config.conf, "webdav", {"auth": ["team", "secret"]}
            )
        draw(remote.folder / "pets", COUNTS)
        assert command(["new", "pets", "--images", f"{remote.url}/pets"]) == 0
        said = capsys.readouterr().out
        assert "24 images of disc (12), square #1 (12)" in said
        assert f"make repro EXTRA={kind}" in said
        with contextlib.chdir("pets"):
            assert read_params()["dataset"]["source"]["path"] == f"{remote.url}/pets"
        assert sorted(os.listdir()) == ["pets"]
        with pytest.raises(UserError, match="there is no object below this address"):
            command(["new", "other", "--images", f"{remote.url}/none"])
        assert not Path("other").exists()
