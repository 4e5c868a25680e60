"""The command blocks of the documentation, and a project in which they run.

`python -m website.commands_in_text PROJECT PAGE...` runs the blocks of some pages in copies of a
project that `prepare` made.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from website import ROOT
from website.sample import write_digits

BLOCK = re.compile(
    r"^(?P<mark> *<!-- not run: (?P<reason>[^\n]*?) -->\n)?(?P<indent> *)```console\n"
    r"(?P<commands>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
SIZE = 64  # pixels; the smallest that all networks of the default run take is 32
SECONDS = 600  # for one block
ADDED = (  # files of the commands that are no part of the project
    ".make", ".venv", "PHOTOS", "PATH", "*.jpg", "*.csv", "*.keras", "cells*", "exports",
    "patients*", "scans",
)  # fmt: skip
MAKE = """#!/bin/sh
# `make` of the documentation's commands: the environment is already there
case "$1" in
repro) dvc repro && thaw report ;;
*) echo "make $1: not run" ;;
esac
"""


@dataclass(frozen=True)
class Block:
    """A block of commands.

    Attributes:
        page: the file, relative to the repository.
        line: of the block's first command.
        commands: as written.
        reason: why it is not run, or None.
    """

    page: str
    line: int
    commands: str
    reason: str | None


def pages() -> list[str]:
    """Return README.md and the pages of docs/, relative to the repository."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
    return ["README.md", *found]


def blocks(page: str) -> Iterator[Block]:
    """Yield the command blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("commands")) + 1
        yield Block(page, line, match["commands"], match["reason"])


def prepare(folder: Path) -> Path:
    """Create a project with 200 small images, run its pipeline, and return its folder."""
    photos, project = folder / "photos", folder / "digits"
    write_digits(photos)
    run(
        f"thaw new digits --images {photos} -S dataset.image.size={SIZE}"
        " && cd digits && dvc repro && thaw report && git add -A && git commit -qm Run",
        folder,
        1800,
    )
    return project


def run(commands: str, folder: Path, seconds: int = SECONDS) -> str:
    """Run commands in bash and return what they print.

    Raises:
        AssertionError: a command failed, or they took too long.
    """
    binaries = folder / ".make"
    binaries.mkdir(exist_ok=True)
    make = binaries / "make"
    make.write_text(MAKE)
    make.chmod(0o755)
    path = os.pathsep.join([str(binaries), str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {**os.environ, "PATH": path, "COLUMNS": "100"}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", commands],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout[-3000:]}"
    return done.stdout


def run_page(page: str, project: Path, folder: Path) -> int:
    """Run the blocks of a page one after another in a copy of a project.

    Args:
        page: relative to the repository.
        project: as `prepare` returns it. It is not changed.
        folder: an empty folder for the copy.

    Returns:
        The number of blocks that ran.
    """
    chosen = [block for block in blocks(page) if block.reason is None]
    if not chosen:
        return 0
    copy = folder / "project"
    subprocess.run(["cp", "-a", "--reflink=auto", str(project), str(copy)], check=True)
    _add_files(copy)
    for block in chosen:
        try:
            run(block.commands, copy)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f"{page}:{block.line}: {error}") from None
    return len(chosen)


def _add_files(copy: Path) -> None:
    """Add the files that the commands of the documentation name."""
    environment = copy / ".venv"
    if not environment.exists():
        environment.symlink_to(Path(sys.executable).parents[1])
    for name in ("PHOTOS", "PATH"):
        write_digits(copy / name, 12)
    sources = sorted((copy / "PATH").glob("*/*.png"))
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        with Image.open(sources[0]) as image:
            image.save(copy / name)
    _patients(copy, sources)
    (copy / "labels.csv").write_text(
        "file,label\n"
        + "".join(f"PATH/{p.parent.name}/{p.name},{p.parent.name}\n" for p in sources)
    )
    (copy / ".git/info/exclude").write_text("\n".join(f"/{name}" for name in ADDED))
    for number, source in enumerate(sources):
        with Image.open(source) as image:
            pixels = np.asarray(image).astype("uint16") * 16  # 12 bits
        target = copy / "scans" / source.parent.name / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target)


def _patients(copy: Path, sources: list[Path]) -> None:
    """Write the images of twelve patients: in folders, by file names, and in a table."""
    rows = ["file,label,patient_id"]
    for number, source in enumerate(sources):
        label, patient = source.parent.name, f"p{number // 2:02}"
        for name in (f"patients-by-folder/{label}/{patient}", f"patients-by-name/{label}"):
            (copy / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy / f"patients-by-folder/{label}/{patient}/{number}.png")
        shutil.copy(source, copy / f"patients-by-name/{label}/{patient}_{number}.png")
        rows.append(f"PATH/{label}/{source.name},{label},{patient}")
    (copy / "patients.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    failures = 0
    for page in sys.argv[2:] or pages():
        with tempfile.TemporaryDirectory() as temporary:
            try:
                count = run_page(page, Path(sys.argv[1]), Path(temporary))
                print(f"{page}: {count} blocks ran", flush=True)
            except AssertionError as error:
                failures += 1
                print(f"FAILED {error}", flush=True)
    sys.exit(min(failures, 1))
