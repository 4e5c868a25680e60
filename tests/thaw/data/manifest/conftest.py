from pathlib import Path

import pytest

from thaw.data.manifest.columns import Columns
from thaw.data.manifest.reading import find_manifests, read_manifest
from thaw.data.manifest.rows import Manifest


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return the folder of the images."""
    return tmp_path / "mine"


@pytest.fixture
def write(folder):
    """Return a function that writes files, which contain their own name unless a text is given."""

    def call(*names: str, **texts: str) -> None:
        for name, text in {**{name: name for name in names}, **texts}.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)

    return call


@pytest.fixture
def read(folder, write):
    """Return a function that writes files and a manifest, and reads it."""

    def call(text: str, *names: str, manifest: str = "l.csv", **columns) -> Manifest:
        write(*names, **{manifest: text})
        found = find_manifests(folder, "mine")
        return read_manifest(found, None, Columns(**columns), "mine", "mine")[1]

    return call
