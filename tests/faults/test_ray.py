"""Stage features in the workers of a Ray cluster: the bytes of a run without, whoever dies.

Each run is the stage's own process in a folder that holds what it reads. Everything listens on
loopback, and ends with its test.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.images.arrays import write_arrays

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed (pip install -e '.[ray]')",
)
RAY = {"kind": "ray", "address": None, "workers": 3, "threads": 1}
LOST = "a worker was lost; another one takes its place"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A function that gives the folder with random weights of a network."""
    folder = tmp_path_factory.mktemp("weights")

    def write(application: str, size: int) -> Path:
        file = folder / f"{application}.npz"
        if not file.exists():
            from stages.engine import keras
            from stages.networks.backbone import application as made
            from stages.networks.backbone import tensors

            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(0)
            np.savez(file, **tensors(made(application, size)))
        return file

    return write


class Run:
    """Stage features on generated images, in a folder of its own.

    Attributes:
        peak: KiB of memory that the stage's own process had at most.
    """

    def __init__(self, folder: Path, composed: dict, weights, runtime: dict, images: int, **chosen):
        self.folder, self.peak = folder, 0
        size = chosen.pop("size", 32)
        backbone = {**composed["backbones"]["vgg16"], "weights": "random", "batch_size": 4}
        values = {**composed, "backbones": {"b": {**backbone, **chosen}}, "runtime": runtime}
        (folder / "data/weights").mkdir(parents=True)
        shutil.copyfile(
            weights(values["backbones"]["b"]["application"], size), folder / "data/weights/b.npz"
        )
        (folder / "params.yaml").write_text(yaml.safe_dump(values))
        keys = [f"{number:016x}" for number in range(images)]

        def image(key: str) -> np.ndarray:
            random = np.random.default_rng(int(key, 16))
            return random.integers(0, 256, (size, size, 3), dtype="uint8")

        write_arrays(folder / "data/images", keys, image, {})
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "DVC_"))}
        environment |= {"THAW_STORE": str(folder / "store"), "PYTHONPATH": str(ROOT)}
        self.log = open(folder / "log", "w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "stages.features", "b"],
            cwd=folder,
            env=environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def wait(self, seconds: float = 400) -> "Run":
        """Until it ends."""
        self.until(lambda: self.process.poll() is not None, seconds)
        return self

    def until(self, true, seconds: float = 200) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.said()
            status = Path(f"/proc/{self.process.pid}/status")  # where there is such a file
            if status.exists() and (held := re.search(r"VmRSS:\s+(\d+)", status.read_text())):
                self.peak = max(self.peak, int(held[1]))
            time.sleep(0.05)

    def shards(self) -> int:
        return len([*(self.folder / "store").rglob("*.keys")])

    def descendants(self) -> dict[int, str]:
        """The processes that it started, and those that these did: their names."""
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(None, 2) for line in listed.splitlines()]
        found, grew = {self.process.pid}, True
        while grew:
            more = {int(pid) for pid, parent, *_ in rows if int(parent) in found} - found
            found, grew = found | more, bool(more)
        return {int(pid): rest[0] if rest else "" for pid, _, *rest in rows if int(pid) in found}

    def workers(self) -> list[int]:
        return [pid for pid, name in self.descendants().items() if name.startswith("ray::Worker")]

    def files(self, content) -> dict[str, bytes]:
        """What it left: the features, and the store."""
        assert self.process.returncode == 0, self.said()
        return content(self.folder / "data/features") | content(self.folder / "store")


@pytest.fixture
def start(tmp_path, composed, weights):
    """A function that starts a Run; those that still run at the end are killed."""
    runs = []

    def begin(runtime: dict, images: int, **chosen) -> Run:
        run = Run(tmp_path / str(len(runs)), composed, weights, runtime, images, **chosen)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
        run.log.close()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_bytes_are_those_of_a_local_run(start, content, precision):
    """The last batch is not full, and the last shard neither."""
    here = start({"kind": "local"}, 150, precision=precision).wait().files(content)
    run = start(RAY, 150, precision=precision)
    run.until(lambda: run.shards() > 0)
    assert len(run.workers()) == 3
    assert run.wait().files(content) == here
    assert "150 of 150 images are new" in run.said()


def test_killed_workers_are_replaced_and_the_bytes_the_same(start, content):
    here = start({"kind": "local"}, 600, size=64).wait().files(content)
    run = start(RAY, 600, size=64)
    for done in (1, 3):
        run.until(lambda done=done: run.shards() >= done)
        os.kill(run.workers()[0], signal.SIGKILL)
    assert run.wait().files(content) == here
    assert run.said().count(LOST) == 2
