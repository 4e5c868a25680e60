"""A small repository after a run of the real stages, and real servers on loopback ports."""

import contextlib
import os
import threading
import time
from pathlib import Path

import httpx
import pytest
import uvicorn

from stages import evaluate, features, train_subnet, weights
from tests.thaw.report.conftest import CHOSEN, commit, walk
from thaw.models.bundle import find_model
from thaw.serve.app import Limits, application
from thaw.serve.network import Predictor
from thaw.serve.server import bound, url

COUNTS = {"disc": 14, "square": 12}
BACKBONE = [
    "dataset.image.size=64",  # its features have four places
    "backbones.vgg16.weights=random",
    "backbones.vgg16.precision=float32",
]
LIMITS = Limits(bytes=200_000, pixels=1_000_000, queue=64, seconds=30)


def trained_there(folder: Path) -> Path:
    """A repository with two logistic models on features of VGG16 with random weights."""
    before = os.getcwd()
    try:
        chosen = [each for each in CHOSEN if "image.size" not in each]
        walk(folder, COUNTS, stop=True, chosen=[*chosen, *BACKBONE])
        weights.main("vgg16")
        features.main("vgg16")
        for name in ("logistic", "other"):
            train_subnet.main(name)
            evaluate.main(name)
        commit("first")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(scope="session")
def after_training(tmp_path_factory, store) -> Path:
    return trained_there(tmp_path_factory.mktemp("serve") / "run")


@pytest.fixture
def inside(after_training, monkeypatch) -> Path:
    """It, as the current folder."""
    monkeypatch.chdir(after_training)
    return after_training


@pytest.fixture(scope="session")
def served(after_training) -> Predictor:
    """The model `logistic`, loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(after_training)
        return Predictor(find_model("logistic"), (), 8)


@pytest.fixture(scope="session")
def photos(after_training) -> list[Path]:
    found = sorted((after_training / "photos").rglob("*.png"))
    return [photo for photo in found if photo.name != "broken.png"]


class Held:
    """A network that answers when it is let.

    Attributes:
        let: set, it answers.
        passes: the number of images of each pass so far.
    """

    def __init__(self, served: Predictor):
        self._served, self.let, self.passes = served, threading.Event(), []

    def __getattr__(self, name: str):
        return getattr(self._served, name)

    def answers(self, pixels: list, explained: list) -> list:
        self.passes.append(len(pixels))
        assert self.let.wait(20)
        return self._served.answers(pixels, explained)


@contextlib.contextmanager
def listening(served, limits: Limits = LIMITS, name: str = "logistic", local: bool = True):
    """The URL of a server in a thread of this process."""
    socket = bound("127.0.0.1", 0)
    app = application(name, served, limits, local)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield url(socket)
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def client(served, after_training):
    with (
        pytest.MonkeyPatch.context() as patch,
        listening(served) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        patch.chdir(after_training)
        yield client
