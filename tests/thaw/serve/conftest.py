"""Fixtures: a small repository after a run of the real stages, and servers on loopback ports."""

import contextlib
import os
import threading
import time
from pathlib import Path

import httpx
import pytest
import uvicorn

from stages import evaluate, features, train_subnet, weights
from tests.thaw.report.conftest import OVERRIDES, commit, run_pipeline
from thaw.evaluation.selection import write_best
from thaw.models.bundle import find_model
from thaw.serve.app import Limits, create_app
from thaw.serve.predictor import Predictor
from thaw.serve.server import bind, server_url

COUNTS = {"disc": 14, "square": 12}
BACKBONE = [
    "dataset.image.size=64",  # features of 2 x 2 cells
    "backbones.vgg16.weights=random",
    "backbones.vgg16.precision=float32",
]
LIMITS = Limits(bytes=200_000, pixels=1_000_000, queue=64, seconds=30)


def train_models(folder: Path) -> Path:
    """Create a repository with two logistic regressions on features of a random VGG16."""
    previous = os.getcwd()
    try:
        chosen = [each for each in OVERRIDES if "image.size" not in each]
        run_pipeline(folder, COUNTS, stop=True, chosen=[*chosen, *BACKBONE])
        weights.main("vgg16")
        features.main("vgg16")
        for name in ("logistic", "other"):
            train_subnet.main(name)
            evaluate.main(name)
        write_best(["logistic", "other"])
        commit("first")
    finally:
        os.chdir(previous)
    return folder


@pytest.fixture(scope="session")
def after_training(tmp_path_factory, store) -> Path:
    return train_models(tmp_path_factory.mktemp("serve") / "run")


@pytest.fixture
def inside(after_training, monkeypatch) -> Path:
    """Return the repository, as the current folder."""
    monkeypatch.chdir(after_training)
    return after_training


@pytest.fixture(scope="session")
def predictor(after_training) -> Predictor:
    """Return the loaded model `logistic`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(after_training)
        return Predictor(find_model("logistic"), (), 8)


@pytest.fixture(scope="session")
def photos(after_training) -> list[Path]:
    photos = sorted((after_training / "photos").rglob("*.png"))
    return [photo for photo in photos if photo.name != "broken.png"]


class BlockedPredictor:
    """A predictor that waits until the test releases it.

    Attributes:
        release: an event; once it is set, predictions are computed.
        batches: the number of images of each batch so far.
    """

    def __init__(self, predictor: Predictor):
        self._predictor, self.release, self.batches = predictor, threading.Event(), []

    def __getattr__(self, name: str):
        return getattr(self._predictor, name)

    def predict(self, images: list, explained: list) -> list:
        self.batches.append(len(images))
        assert self.release.wait(20)
        return self._predictor.predict(images, explained)


@contextlib.contextmanager
def listening(predictor, limits: Limits = LIMITS, name: str = "logistic", local: bool = True):
    """Run a server in a thread of this process and yield its URL."""
    socket = bind("127.0.0.1", 0)
    app = create_app(name, predictor, limits, local)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield server_url(socket)
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def client(predictor, after_training):
    with (
        pytest.MonkeyPatch.context() as patch,
        listening(predictor) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        patch.chdir(after_training)
        yield client
