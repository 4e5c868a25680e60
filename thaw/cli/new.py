"""`thaw new`: a repository of one's own for a folder of images, ready for `dvc repro`."""

import contextlib
import shlex
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from thaw.composition import compose
from thaw.data.class_folders import read_layout
from thaw.data.registry import validate_source
from thaw.errors import UserError
from thaw.sources import folder as own
from thaw.storage.files import atomic_write

HERE = Path(__file__).parent
SOURCE = HERE.parents[1]
LEFT = (
    ".ci/", "benchmarks/", "conf/experiment/", "docs/", "results/", "tests/", "README.md",
    "dvc.lock", "params.yaml",
)  # fmt: skip
"""What is about Thaw itself: its tests, its figures and its results."""
CHOICE, CHOSEN = "  - dataset: solar_cells\n", "  - dataset: folder\n"
SPLITS = "train", "validation", "test"
NAME, PATH = "name: folder\n", "  path: ??? # -S dataset.source.path=PATH\n"


def new(given: str, images: str) -> int:
    """Make the folder `given` a git and DVC repository whose data are `images`.

    It holds the pipeline and its parameters, no tests, presets or results of Thaw's; a README.md
    names the classes; everything is committed. Nothing is left where this fails.

    Args:
        images: a folder or an archive with a sub-folder for each class, as `dataset.source.path`.

    Raises:
        UserError: `given` is there and not empty, `images` cannot be used, or this Thaw is no clone.
    """
    if Path(given).name in ("", ".."):
        raise UserError(f"{given!r}: expected the name of a folder to make.")
    if not images:  # which would be the current folder
        raise UserError("--images '': expected a folder or an archive.")
    target, path = Path(given), Path(images).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{given} is there already: expected a new name, or an empty folder.")
    if target.resolve().is_relative_to(path):
        raise UserError(f"{given} lies in {images}: expected a place outside the images.")
    rows = _looked_at(path, images)
    files = _files()
    try:
        with atomic_write(target, shared=True) as part:  # NAME.part may be the user's
            for name in files:
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(SOURCE / name, part / name)
            _choose(part, target.resolve().name, path)
            (part / "README.md").write_text(_readme(target.resolve().name, path, rows))
            _commit(part)
    except subprocess.CalledProcessError as error:
        raise UserError(f"{shlex.join(error.cmd)} failed: {error.stderr.strip()}") from None
    counts = Counter(row["label"] for row in rows)
    print(
        f"{given}: {len(rows):,} images of {', '.join(f'{k} ({n:,})' for k, n in counts.items())}"
    )
    print(f"cd {shlex.quote(given)} && dvc repro    # or make repro, which sets up a .venv first")
    return 0


def _looked_at(path: Path, images: str) -> list[dict]:
    """Each image's label and split, as the pipeline will see them."""
    if not path.exists():
        raise UserError(f"--images {images}: no such folder or archive.")
    parameters = validate_source(
        {
            "kind": "folder",
            "inventory": "data/inventory.csv",
            "scan": ["folder"],
            "path": str(path),
        }
    )
    if not path.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            return own.collect(parameters, Path(folder))
    return read_layout(path, False, images)


def _files() -> list[str]:
    """What a project needs of this one, as git lists it."""
    asked = ["git", "ls-files", "-z", "--cached"]
    listed = subprocess.run(asked, cwd=SOURCE, capture_output=True, text=True)
    if listed.returncode or "dvc.yaml" not in listed.stdout.split("\0"):
        raise UserError(f"{SOURCE} is no clone of Thaw. Run `thaw new` from one: make setup.")
    return [
        name
        for name in filter(None, listed.stdout.split("\0"))
        if not name.startswith(LEFT) and (SOURCE / name).is_file()
    ]


def _choose(folder: Path, name: str, images: Path) -> None:
    """Make `images` the default data set, under `name`."""
    for file, old, put in (
        ("conf/config.yaml", CHOICE, CHOSEN),
        ("conf/dataset/folder.yaml", NAME, _line(name=name)),
        ("conf/dataset/folder.yaml", PATH, f"  {_line(path=str(images))}"),
    ):
        text = (folder / file).read_text(encoding="utf-8")
        if old not in text:
            raise UserError(f"{SOURCE / file} has no line {old.strip()!r}, which `thaw new` edits.")
        (folder / file).write_text(text.replace(old, put, 1), encoding="utf-8")
    with contextlib.chdir(folder):
        Path("params.yaml").write_text(yaml.safe_dump(compose(), sort_keys=False))


def _line(**value: str) -> str:
    return yaml.safe_dump(value, width=float("inf"), allow_unicode=True)


def _readme(name: str, images: Path, rows: list[dict]) -> str:
    splits = [split for split in SPLITS if any(row["split"] == split for row in rows)]
    counts = Counter((row["label"], row["split"]) for row in rows)
    labels = sorted({row["label"] for row in rows})
    loader = FileSystemLoader(HERE)
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("new.md").render(
        name=name,
        images=images,
        labels=labels,
        splits=splits or [""],
        counts=counts,
        total=len(rows),
        commit=_git(SOURCE, "rev-parse", "--short", "HEAD"),
    )


def _commit(folder: Path) -> None:
    _git(folder, "init", "--quiet", "--initial-branch=main")
    for key, value in (("user.name", "thaw"), ("user.email", "thaw@localhost")):
        if subprocess.run(["git", "config", key], cwd=folder, capture_output=True).returncode:
            _git(folder, "config", "--local", key, value)  # as `make setup` does
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "Start from Thaw")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
