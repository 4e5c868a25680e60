"""`thaw new`: create a project for a folder of images, ready for `dvc repro`."""

import argparse
import contextlib
import json
import re
import shlex
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from thaw.cli import new_manifest
from thaw.cli.durations import estimator, split_counts, total
from thaw.cli.wheel import Wheel, make_wheel
from thaw.composition import compose
from thaw.config.base import read_params, validate
from thaw.config.dataset import Source
from thaw.data.archives import SUFFIXES, is_archive
from thaw.data.collecting import read_layout
from thaw.data.manifest.table import READERS
from thaw.errors import UserError
from thaw.report.history import stage_names
from thaw.sources import folder, manifest
from thaw.storage.addresses import EXTRAS, Unreachable, is_remote
from thaw.storage.files import atomic_write

HERE = Path(__file__).parent
SET_UP = "the set-up 2 to 5 minutes, downloads included"
SPLITS = "train", "validation", "test"
ONLY_MANIFEST = manifest.Parameters.model_fields.keys() - folder.Parameters.model_fields.keys()


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
        "or a .csv, .tsv, .jsonl or .parquet file with a path and a label for each image; or its "
        "address, such as s3://bucket/folder",
    )
    parser.add_argument(
        "-S",
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the dataset, as for `dvc exp run`: how to read the images "
        "(dataset.source.layout, root, include, exclude, label_pattern or zip_encoding; of a "
        "manifest images or columns.label, path, ...), or such as dataset.split.group",
    )
    parser.set_defaults(run=lambda args: new(args.dir, args.images, args.set))


def new(directory: str, images: str, overrides: Sequence[str] = ()) -> int:
    """Create a project whose dataset is `images`, and commit it. After a failure nothing is left.

    Args:
        directory: the folder to create.
        images: a folder or an archive with one sub-folder per class, or a manifest; a path or an
            address.
        overrides: parameters of `dataset` in Hydra's syntax, which become the defaults.

    Returns:
        0, the exit code.

    Raises:
        UserError: `directory` exists and is not empty, or `images` cannot be used.
    """
    if Path(directory).name in ("", ".."):
        raise UserError(f"{directory!r}: expected the name of a folder to create.")
    if not images:  # an empty path is the current folder
        raise UserError("--images '': expected a folder, an archive, a manifest or an address.")
    target, path = Path(directory), Path(images).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{directory} already exists: expected a new name, or an empty folder.")
    if target.resolve().is_relative_to(path):
        raise UserError(f"{directory} is inside {images}: expected a place outside the images.")
    chosen = _chosen(overrides)
    source, rows = _read_images(path, images, chosen.pop("source", {}))
    rows = [row for row in rows if row["label"]]
    name = target.resolve().name
    try:
        with atomic_write(target, shared=True) as part:  # NAME.part may be a file of the user
            wheel = make_wheel(part / "vendor")
            for file, content in wheel.project_files(name, wheel).items():
                (part / file).parent.mkdir(parents=True, exist_ok=True)
                (part / file).write_bytes(content)
            _select_images(part, name, source, chosen)
            (part / "README.md").write_text(_readme(name, source, rows, wheel), encoding="utf-8")
            _commit(part)
    except subprocess.CalledProcessError as error:
        raise UserError(f"{shlex.join(error.cmd)} failed: {error.stderr.strip()}") from None
    counts = Counter(row["label"] for row in rows)
    classes = ", ".join(f"{label} ({count:,})" for label, count in counts.items())
    print(f"{directory}: {len(rows):,} images of {classes}")
    with contextlib.chdir(target):
        parameters = read_params()
        estimate = estimator(parameters, split_counts(len(rows), parameters))
        expected = total(map(estimate, stage_names(parameters)))
    run = _run_command(images)
    print(f"cd {shlex.quote(directory)} && {run}    # sets up .venv and runs the pipeline")
    print(f"The pipeline takes {expected} if this machine does nothing else, {SET_UP}.")
    return 0


def _read_images(
    path: Path, images: str, chosen: dict[str, Any]
) -> tuple[Source, list[dict[str, str]]]:
    """Return `dataset.source`, and the label and split of each image as the pipeline reads them.

    Args:
        path: A folder, an archive or a manifest. A folder without class folders may contain one.
        images: How messages name it.
        chosen: Parameters of `dataset.source` from the command line.
    """
    if is_remote(images):
        return _read_remote(images, chosen)
    if not path.exists():
        raise UserError(f"--images {images}: no such folder, archive or manifest.")
    if not path.is_dir() and not is_archive(path) and not new_manifest.is_manifest(path):
        expected = ", ".join((*SUFFIXES, *READERS))
        raise UserError(f"--images {images}: expected a folder or one of {expected}.")
    if new_manifest.is_manifest(path) or chosen.keys() & ONLY_MANIFEST:
        source, found = new_manifest.read(path, chosen)
    else:
        values = {"kind": "folder", "path": str(path), **chosen}
        parameters = validate(folder.Parameters, values, "dataset", "source")
        try:
            rows = _read_class_folders(parameters, path, images)
            labels = {row["label"] for row in rows} - {""}
        except UserError as error:
            if chosen:
                raise
            source, found = new_manifest.find(path, images, error)
        else:
            if path.is_dir() and not chosen:
                new_manifest.reject_other_labels(path, images, labels)
            return parameters, rows
        print(f"{images} has no class folders, but a manifest that fits.")
    print("\n".join(found.notes))
    return source, found.rows


def _read_remote(address: str, chosen: dict[str, Any]) -> tuple[Source, list[dict[str, str]]]:
    """Return the same as `_read_images` for an address. Only manifests and archives are read."""
    problem = None
    if not new_manifest.is_manifest(Path(address)) and not chosen.keys() & ONLY_MANIFEST:
        values = {"kind": "folder", "path": address, **chosen}
        source = validate(folder.Parameters, values, "dataset", "source")
        try:
            with tempfile.TemporaryDirectory() as scratch:
                return source, folder.read(source, Path(scratch))
        except UserError as error:
            if chosen or isinstance(error, Unreachable):
                raise
            problem = error
    try:
        read, found = new_manifest.read(address, chosen)
    except UserError as error:
        raise problem or error from None
    print("\n".join(found.notes))
    return read, found.rows


def _chosen(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of `dataset` that the command line sets."""
    values: dict[str, Any] = {}
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise UserError(f"-S {text}: {error}") from None
        keys = override.key_or_group.split(".")
        if (
            keys[0] != "dataset"
            or keys[1:] in ([], ["name"], ["source"])
            or (keys[1] == "source" and keys[2] in ("kind", "path"))
        ):
            raise UserError(
                f"-S {text}: expected a parameter of the dataset other than its name and path, "
                f"such as dataset.source.layout or dataset.split.group."
            )
        section = values
        for key in keys[1:-1]:
            section = section.setdefault(key, {})
        section[keys[-1]] = override.value()
    return values


def _read_class_folders(source: folder.Parameters, path: Path, images: str) -> list[dict[str, str]]:
    if path.is_dir():
        return read_layout(path, images, source)
    with tempfile.TemporaryDirectory() as scratch:
        return folder.collect(source, Path(scratch))


def _select_images(project: Path, name: str, source: Source, others: dict[str, Any]) -> None:
    """Make `source` the default dataset of a project, and compose its params.yaml.

    Args:
        project: Its folder.
        name: Of the dataset.
        source: `dataset.source`.
        others: Other parameters of `dataset`.

    Raises:
        UserError: a parameter does not exist, or has an invalid value.
    """
    from dvc.utils.serialize import dump_yaml  # `dvc exp run` writes params.yaml with it

    chosen = source.model_dump(exclude={"kind"}, exclude_defaults=True)
    columns = chosen.pop("columns", {})  # of a manifest
    lines = [("  ", key, value) for key, value in chosen.items()]
    lines += [("    ", key, value) for key, value in columns.items()]
    for key, value in others.items():
        inner = value.items() if isinstance(value, dict) else [(key, value)]
        lines += [("  " * isinstance(value, dict), *item) for item in inner]
    file_of_dataset = f"conf/dataset/{source.kind}.yaml"
    for file, pattern, line in (
        ("conf/config.yaml", "  - dataset: .*", f"  - dataset: {source.kind}"),
        (file_of_dataset, "name: .*", f"name: {_quote(name)}"),
        *(
            (file_of_dataset, f"{indent}{key}: .*", f"{indent}{key}: {_quote(value)}")
            for indent, key, value in lines
        ),
    ):
        path = project / file
        before = path.read_text(encoding="utf-8")
        text, count = re.subn(f"(?m)^{pattern}$", line.replace("\\", r"\\"), before, count=1)
        if not count:
            raise UserError(f"{file} has no line {pattern!r} that `thaw new` could set.")
        path.write_text(text, encoding="utf-8")
    with contextlib.chdir(project):
        dump_yaml("params.yaml", compose())


def _quote(value: Any) -> str:
    """Return a value in YAML in which OmegaConf finds no `${...}` to resolve."""
    if isinstance(value, list):
        return f"[{', '.join(map(_quote, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    text = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", value)
    quoted: str = yaml.safe_dump(text, default_style='"', width=float("inf"), allow_unicode=True)
    return quoted.strip()


def _run_command(images: str) -> str:
    """Return the command of the first run, which installs what the address of images needs."""
    extra = EXTRAS.get(images.partition("://")[0]) if is_remote(images) else None
    return f"make repro EXTRA={extra}" if extra else "make repro"


def _readme(name: str, source: Source, rows: list[dict[str, str]], wheel: Wheel) -> str:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("new.md").render(
        name=name,
        kind=source.kind,
        images=source.model_dump()["path"],
        run=_run_command(source.model_dump()["path"]),
        labels=sorted({row["label"] for row in rows}),
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
