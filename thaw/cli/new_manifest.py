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
SHOWN = 5  # labels in a message


def is_manifest(path: Path) -> bool:
    """Return whether the file name ends as that of a manifest does."""
    return path.name.lower().endswith(tuple(READERS)) and not path.is_dir()


def read(path: Path | str, chosen: dict[str, Any]) -> tuple[Parameters, Manifest]:
    """Return `dataset.source`, and the images that a manifest names as the pipeline reads them.

    Args:
        path: A manifest, or a folder or archive that contains one; or its address.
        chosen: Further parameters of `dataset.source`.

    Raises:
        UserError: The manifest cannot be used.
    """
    values = {"kind": "manifest", "path": str(path), **chosen}
    source = validate(Parameters, values, "dataset", "source")
    with tempfile.TemporaryDirectory() as folder, opened(source, Path(folder)) as (_, manifest, _):
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
    fitting, reasons = _fitting(path, shown)
    if len(fitting) > 1:
        names = [source.path for source, _ in fitting]
        raise UserError(
            f"{shown} has no class folders and {len(fitting)} manifests that fit. Choose one with "
            f"--images FILE:\n{bullet_list(names)}"
        )
    if not fitting:
        also = [f"As a manifest: {reason}" for reason in ([] if is_archive(path) else reasons)]
        raise UserError("\n".join([str(problem), *also[:3]]))
    return fitting[0]


def reject_other_labels(path: Path, shown: str, labels: set[str]) -> None:
    """Stop if a manifest in a folder has other labels than those that its sub-folders say.

    Args:
        path: The folder.
        shown: How messages name it.
        labels: The names of the class folders.

    Raises:
        UserError: There is such a manifest.
    """
    for source, manifest in _fitting(path, shown)[0]:
        other = {row["label"] for row in manifest.rows} - {""}
        if other != labels:
            raise UserError(
                f"{shown} can be read in two ways: its folders say {_listed(labels)}, and the "
                f"manifest {source.path} says {_listed(other)}. Choose the manifest with "
                f"--images {source.path}, or the folders with -S dataset.source.layout=classes "
                f"(or splits/classes, ...)."
            )


def _listed(labels: set[str]) -> str:
    more = ", ..." if len(labels) > SHOWN else ""
    return ", ".join(sorted(labels)[:SHOWN]) + more


def _fitting(path: Path, shown: str) -> tuple[list[tuple[Parameters, Manifest]], list[str]]:
    """Return the manifests that fit, and why the others do not."""
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
    return fitting, reasons
