from pathlib import Path

import pytest

from thaw.data.manifest.columns import Columns
from thaw.data.manifest.reading import find_manifests, read_manifest
from thaw.data.manifest.rows import Manifest

NULLS = dict.fromkeys(Columns.model_fields)


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
        chosen = Columns(**{**NULLS, **columns})
        return read_manifest(find_manifests(folder, "mine"), None, chosen, "mine", "mine")[1]

    return call
