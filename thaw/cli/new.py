"""`thaw new`: create a project for a folder of images, ready for `dvc repro`."""

import argparse
import contextlib
import re
import shlex
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from thaw.cli import new_manifest
from thaw.cli.wheel import Wheel, make_wheel
from thaw.composition import compose
from thaw.config.base import validate
from thaw.data.archives import SUFFIXES, is_archive
from thaw.data.class_folders import read_layout
from thaw.data.manifest.table import READERS
from thaw.errors import UserError
from thaw.sources.folder import Parameters, collect
from thaw.storage.files import atomic_write

HERE = Path(__file__).parent
SPLITS = "train", "validation", "test"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw new`."""
    parser.description = (
        "Create DIR, a git and DVC repository with the pipeline, its parameters and the library "
        "as a pinned wheel, for the images at PATH. Run `dvc repro` or `make repro` in it next."
    )
    parser.add_argument("dir", metavar="DIR", help="a new folder")
    parser.add_argument(
        "--images",
        required=True,
        metavar="PATH",
        help="a folder or archive with one sub-folder per class, directly or in train/ and test/; "
        "or a .csv, .tsv, .jsonl or .parquet file with a path and a label for each image",
    )
    parser.set_defaults(run=lambda arguments: new(arguments.dir, arguments.images))


def new(directory: str, images: str) -> int:
    """Create a project whose dataset is `images`, and commit it. After a failure nothing is left.

    Args:
        directory: the folder to create.
        images: a folder or an archive with one sub-folder per class, or a manifest.

    Returns:
        0, the exit code.

    Raises:
        UserError: `directory` exists and is not empty, or `images` cannot be used.
    """
    if Path(directory).name in ("", ".."):
        raise UserError(f"{directory!r}: expected the name of a folder to create.")
    if not images:  # an empty path is the current folder
        raise UserError("--images '': expected a folder or an archive.")
    target, path = Path(directory), Path(images).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{directory} already exists: expected a new name, or an empty folder.")
    if target.resolve().is_relative_to(path):
        raise UserError(f"{directory} is inside {images}: expected a place outside the images.")
    kind, path, rows = _read_images(path, images)
    name = target.resolve().name
    try:
        with atomic_write(target, shared=True) as part:  # NAME.part may be a file of the user
            wheel = make_wheel(part / "vendor")
            for file, content in wheel.project_files(name, wheel).items():
                (part / file).parent.mkdir(parents=True, exist_ok=True)
                (part / file).write_bytes(content)
            _select_images(part, name, kind, path)
            readme = _readme(name, kind, path, rows, wheel)
            (part / "README.md").write_text(readme, encoding="utf-8")
            _commit(part)
    except subprocess.CalledProcessError as error:
        raise UserError(f"{shlex.join(error.cmd)} failed: {error.stderr.strip()}") from None
    counts = Counter(row["label"] or "(unlabelled)" for row in rows)
    classes = ", ".join(f"{label} ({count:,})" for label, count in counts.items())
    print(f"{directory}: {len(rows):,} images of {classes}")
    print(f"cd {shlex.quote(directory)} && make repro    # sets up .venv, then runs the pipeline")
    return 0


def _read_images(path: Path, images: str) -> tuple[str, Path, list[dict[str, str]]]:
    """Return the kind of source, its path, and the label and split of each image.

    A folder without class folders may contain a manifest.
    """
    if not path.exists():
        raise UserError(f"--images {images}: no such folder, archive or manifest.")
    if not path.is_dir() and not is_archive(path) and not new_manifest.is_manifest(path):
        expected = ", ".join((*SUFFIXES, *READERS))
        raise UserError(f"--images {images}: expected a folder or one of {expected}.")
    if new_manifest.is_manifest(path):
        manifest = new_manifest.read(path)
    else:
        try:
            return "folder", path, _read_class_folders(path, images)
        except UserError as error:
            path, manifest = new_manifest.find(path, images, error)
        print(f"{images} has no class folders, but a manifest that fits.")
    print("\n".join(manifest.notes))
    return "manifest", path, manifest.rows


def _read_class_folders(path: Path, images: str) -> list[dict[str, str]]:
    if path.is_dir():
        return read_layout(path, False, images)
    source = validate(Parameters, {"kind": "folder", "path": str(path)}, "dataset", "source")
    with tempfile.TemporaryDirectory() as folder:
        return collect(source, Path(folder))


def _select_images(project: Path, name: str, kind: str, images: Path) -> None:
    """Make `images` the default dataset of a project, and compose its params.yaml."""
    from dvc.utils.serialize import dump_yaml  # `dvc exp run` writes params.yaml with it

    for file, pattern, line in (
        ("conf/config.yaml", "  - dataset: .*", f"  - dataset: {kind}"),
        (f"conf/dataset/{kind}.yaml", "name: .*", f"name: {_quote(name)}"),
        (f"conf/dataset/{kind}.yaml", "  path: .*", f"  path: {_quote(str(images))}"),
    ):
        path = project / file
        before = path.read_text(encoding="utf-8")
        text, count = re.subn(f"(?m)^{pattern}$", line.replace("\\", r"\\"), before, count=1)
        if not count:
            raise UserError(f"{file} has no line {pattern!r} for `thaw new` to edit.")
        path.write_text(text, encoding="utf-8")
    with contextlib.chdir(project):
        dump_yaml("params.yaml", compose())


def _quote(text: str) -> str:
    """Return text as a YAML string in which OmegaConf finds no `${...}` to resolve."""
    text = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    quoted: str = yaml.safe_dump(text, default_style='"', width=float("inf"), allow_unicode=True)
    return quoted.strip()


def _readme(name: str, kind: str, images: Path, rows: list[dict[str, str]], wheel: Wheel) -> str:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("new.md").render(
        name=name,
        kind=kind,
        images=images,
        labels=sorted({row["label"] for row in rows} - {""}),
        splits=[split for split in SPLITS if any(row["split"] == split for row in rows)] or [""],
        counts=Counter((row["label"], row["split"]) for row in rows),
        total=len(rows),
        version=wheel.version,
    )


def _commit(folder: Path) -> None:
    _git(folder, "init", "--quiet", "--initial-branch=main")
    for key, value in (("user.name", "thaw"), ("user.email", "thaw@localhost")):
        if subprocess.run(["git", "config", key], cwd=folder, capture_output=True).returncode:
            _git(folder, "config", "--local", key, value)  # as `make setup` does
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "Create the project with Thaw")


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
