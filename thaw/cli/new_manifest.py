"""Manifests in `thaw new`: read one, or find one among the images."""

import tempfile
from pathlib import Path
from typing import Any

from thaw.config.base import validate
from thaw.data.archives import is_archive
from thaw.data.manifest.reading import candidate_manifests, find_manifests
from thaw.data.manifest.rows import Manifest
from thaw.data.manifest.table import READERS
from thaw.errors import UserError, bullet_list
from thaw.sources.manifest import Parameters, opened

MOST = 20  # files that are tried as manifests


def is_manifest(path: Path) -> bool:
    """Return whether the file name ends as that of a manifest does."""
    return path.name.lower().endswith(tuple(READERS)) and not path.is_dir()


def read(path: Path, chosen: dict[str, Any]) -> tuple[Parameters, Manifest]:
    """Return `dataset.source`, and the images that a manifest names as the pipeline reads them.

    Args:
        path: A manifest, or a folder or archive that contains one.
        chosen: Further parameters of `dataset.source`.

    Raises:
        UserError: The manifest cannot be used.
    """
    values = {"kind": "manifest", "path": str(path), **chosen}
    source = validate(Parameters, values, "dataset", "source")
    with tempfile.TemporaryDirectory() as folder, opened(source, Path(folder)) as (_, manifest):
        return source, manifest


def find(path: Path, shown: str, problem: UserError) -> tuple[Parameters, Manifest]:
    """Return the only manifest in a folder or archive whose files and labels fit together.

    Args:
        path: The folder or archive.
        shown: How messages name it.
        problem: Why it cannot be read by its folders.

    Raises:
        UserError: None fits, or several do.
    """
    candidates = [path]
    if not is_archive(path):
        try:
            found = find_manifests(path, shown)
            candidates = found if len(found) == 1 else [path]  # or one in each split folder
        except UserError:  # there is none, or the user must choose
            candidates = [path / file for file in candidate_manifests(path)[:MOST]]
    fitting, reasons = [], []
    for candidate in candidates:
        try:
            fitting.append(read(candidate, {}))
        except UserError as error:
            reasons.append(str(error))
    if len(fitting) > 1:
        names = [source.path for source, _ in fitting]
        raise UserError(
            f"{shown} has no class folders and {len(fitting)} manifests that fit. Choose one with "
            f"--images FILE:\n{bullet_list(names)}"
        )
    if not fitting and is_archive(path):
        raise problem
    if not fitting:
        also = [f"As a manifest: {reason}" for reason in reasons[:3]]
        raise UserError("\n".join([str(problem), *also])) from None
    return fitting[0]
