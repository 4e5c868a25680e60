"""What tests share: a store of their own, small pictures, and conf/ composed once."""

import contextlib
import copy
import functools
import importlib.util
import io
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
pytest_plugins = ["tests.fixtures.networks", "tests.fixtures.servers", "tests.fixtures.training"]


APART = ("browser",)
"""Folders of tests/ that run only where they are named: see tests/targets.mk."""

SERVING = ("fastapi", "httpx", "uvicorn", "python_multipart")
LACKING = [name for name in SERVING if importlib.util.find_spec(name) is None]
"""Packages of the extra `serve` that are not installed; then tests/serve is left out, and said."""


def pytest_terminal_summary(terminalreporter) -> None:
    if LACKING:
        said = f"tests/thaw/serve: left out, without {', '.join(LACKING)}: make setup EXTRA=serve"
        terminalreporter.write_line(said)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if LACKING and collection_path == ROOT / "tests" / "thaw" / "serve":
        return True
    if collection_path.name in APART and collection_path.parent == ROOT / "tests":
        named = any(collection_path.name in Path(arg.split("::")[0]).parts for arg in config.args)
        return None if named else True
    return None


@pytest.fixture(scope="session", autouse=True)
def store(tmp_path_factory):
    """A store that no other run has a part in, and none of the user's settings. A dvc that a test
    starts tells nobody, and leaves nothing outside pytest's folders."""
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
    """thaw.composition.compose in the repository's root, of each choice once."""
    from thaw.composition import compose

    @functools.cache
    def of(*overrides: str) -> dict:
        with contextlib.chdir(ROOT):
            return compose(*overrides)

    return of


@pytest.fixture
def compose(compositions, monkeypatch):
    """thaw.composition.compose, in the repository's root."""
    monkeypatch.chdir(ROOT)
    return lambda *overrides: copy.deepcopy(compositions(*overrides))


@pytest.fixture(scope="session")
def composed(compositions):
    """What conf/ composes to by default. Copy it before you change it."""
    return compositions()


@pytest.fixture
def afresh():
    """A function after which Keras names and seeds as a new process would."""
    from thaw.runtime.tensorflow import keras, make_deterministic

    def start(seed: int = 0) -> None:
        keras.utils.clear_session(free_memory=False)
        make_deterministic(seed)

    return start


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """Every connection is refused, and Keras has downloaded nothing before."""

    def refuse(*_, **__):
        raise ConnectionRefusedError("the network is unplugged")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "keras"))


@pytest.fixture
def picture():
    """A function that draws a picture, another one for each number: (height, width, 3) uint8."""

    def draw(number: int = 0, height: int = 24, width: int = 32) -> np.ndarray:
        small = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype="uint8")
        return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))

    return draw


@pytest.fixture
def encoded():
    """A function from pixels or a Pillow image to a file's bytes."""

    def encode(picture, kind: str = "PNG", **options) -> bytes:
        if isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture)
        file = io.BytesIO()
        picture.save(file, kind, **options)
        return file.getvalue()

    return encode


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by its relative path."""
    return {
        str(Path(here, name).relative_to(folder)): Path(here, name).read_bytes()
        for here, _, names in os.walk(folder)
        for name in names
    }


@pytest.fixture
def content():
    """files_in: a folder's files and their bytes."""
    return files_in
