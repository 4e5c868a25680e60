"""Fixtures of all tests: a separate store, small images, and conf/ composed once."""

import contextlib
import copy
import functools
import importlib.util
import io
import os
import socket
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
pytest_plugins = [f"tests.fixtures.{name}" for name in ("networks", "servers", "tiff", "training")]

# the same examples at every run, on a machine of any speed
hypothesis.settings.register_profile("thaw", database=None, deadline=None, derandomize=True)
hypothesis.settings.load_profile("thaw")

ON_REQUEST = (
    "browser",
    "packages",
)  # folders of tests/ that run only if given by name: see tests/targets.mk
# packages of the extra `serve` that are not installed; without them, tests/thaw/serve is skipped
MISSING = [
    name
    for name in ("fastapi", "httpx", "uvicorn", "python_multipart")
    if importlib.util.find_spec(name) is None
]


def pytest_terminal_summary(terminalreporter) -> None:
    if MISSING:
        terminalreporter.write_line(
            f"tests/thaw/serve: skipped without {', '.join(MISSING)}: make setup EXTRA=serve"
        )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if MISSING and collection_path == ROOT / "tests" / "thaw" / "serve":
        return True
    if collection_path.name in ON_REQUEST and collection_path.parent == ROOT / "tests":
        requested = any(
            collection_path.name in Path(arg.split("::")[0]).parts for arg in config.args
        )
        return None if requested else True
    return None


@pytest.fixture(scope="session", autouse=True)
def store(tmp_path_factory):
    """Set a separate store, and none of the user's settings.

    DVC, if a test starts it, sends no telemetry and writes only to pytest's folders.
    """
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("store")
        patch.setenv("THAW_STORE", str(folder))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        for name in ("THAW_MIRROR", "DVC_ROOT", "DVC_EXP_NAME"):
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture(scope="session")
def compositions(store):
    """Return thaw.composition.compose in the repository's root, cached by its overrides.

    Most tests need one backbone alone: they get that of `models=vgg16`, unless an override chooses
    the models.
    """
    from thaw.composition import compose

    @functools.cache
    def cached(*overrides: str) -> dict:
        if not any(each.startswith(("models=", "experiment=")) for each in overrides):
            overrides = ("models=vgg16", *overrides)
        with contextlib.chdir(ROOT):
            return compose(*overrides)

    return cached


@pytest.fixture
def compose(compositions, monkeypatch):
    """Return thaw.composition.compose in the repository's root."""
    monkeypatch.chdir(ROOT)
    return lambda *overrides: copy.deepcopy(compositions(*overrides))


@pytest.fixture(scope="session")
def composed(compositions):
    """Return what conf/ composes to with models=vgg16. Copy it before you change it."""
    return compositions()


@pytest.fixture
def afresh():
    """Return a function after which Keras names layers and seeds like a new process."""
    from thaw.runtime.tensorflow import keras, make_deterministic

    def start(seed: int = 0) -> None:
        keras.utils.clear_session(free_memory=False)
        make_deterministic(seed)

    return start


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """Refuse every connection, and hide the files that Keras downloaded before."""

    def refuse(*_, **__):
        raise ConnectionRefusedError("the network is unplugged")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "keras"))


@pytest.fixture
def picture():
    """Return a function that draws an image by its number: (height, width, 3), uint8."""

    def draw(number: int = 0, height: int = 24, width: int = 32) -> np.ndarray:
        small = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype="uint8")
        return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))

    return draw


@pytest.fixture
def encoded():
    """Return a function from pixels or a Pillow image to the bytes of a file."""

    def encode(picture, kind: str = "PNG", **options) -> bytes:
        if isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture)
        file = io.BytesIO()
        picture.save(file, kind, **options)
        return file.getvalue()

    return encode


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below `folder`, by its relative path."""
    return {
        str(Path(here, name).relative_to(folder)): Path(here, name).read_bytes()
        for here, _, names in os.walk(folder)
        for name in names
    }


@pytest.fixture
def content():
    """Return the function files_in."""
    return files_in
