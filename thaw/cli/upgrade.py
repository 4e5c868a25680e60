"""`thaw upgrade`: move a project to another version of the library, keeping its owner's edits."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thaw.cli.wheel import Wheel, make_wheel
from thaw.config.base import read_params
from thaw.config.changes import ABSENT, differences, format_override
from thaw.errors import UserError, bullet_list

CONFLICT = re.compile(r"^<{7} .*?^>{7} [^\n]*", re.MULTILINE | re.DOTALL)
LABELS = ("-L", "this project", "-L", "old version", "-L", "new version")  # of git merge-file
# Both versions of the library run this, each in a project with its own conf/.
COMPOSE = """
import sys
from dvc.utils.serialize import dump_yaml
from thaw.composition import compose
dump_yaml(sys.argv[1], compose())
"""
RENAMED = """
import json, sys
from thaw.config.renamed import renamed
print(json.dumps([renamed(key) for key in sys.argv[1:]]))
"""


@dataclass
class Merge:
    """The files of a project after a three-way merge.

    Attributes:
        changed: the new content of each file that changes; None if it is removed.
        conflicts: the conflicting parts of each file, with conflict markers.
        kept: files that the new version changed or dropped, and the project had removed or edited.
    """

    changed: dict[str, bytes | None] = field(default_factory=dict)
    conflicts: dict[str, list[str]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw upgrade`."""
    parser.description = (
        "Merge the files of another version of Thaw into this project, and replace the wheel in "
        "vendor/. Your edits are kept. If an edit conflicts, nothing is changed."
    )
    parser.add_argument(
        "wheel", nargs="?", metavar="WHEEL", help="default: the version that runs this command"
    )
    parser.add_argument("--from", dest="clone", metavar="CLONE", help="a clone of Thaw instead")
    for side, meaning in (("ours", "this project"), ("theirs", "the new version")):
        parser.add_argument(
            f"--{side}",
            action="append",
            default=[],
            metavar="FILE",
            help=f"resolve the conflicts in FILE as {meaning} has it",
        )
    parser.set_defaults(
        run=lambda a: upgrade(
            a.wheel, a.clone, dict.fromkeys(a.ours, "ours") | dict.fromkeys(a.theirs, "theirs")
        )
    )


def upgrade(wheel: str | None, clone: str | None, favoured: dict[str, str]) -> int:
    """Upgrade the project in the current folder. After a failure it is unchanged.

    Args:
        wheel: the path of the new wheel, or None for the library that runs.
        clone: a clone of Thaw to build the new wheel from, or None.
        favoured: `ours` or `theirs` for each file whose conflicts are resolved that way.

    Returns:
        0, the exit code.

    Raises:
        UserError: this is no clean project of `thaw new`, edits conflict with the new version, or
            the merged parameters are not valid.
    """
    project = Path.cwd()
    old = _pinned_wheel(project)
    with tempfile.TemporaryDirectory(prefix="thaw-upgrade-") as folder:
        temporary = Path(folder)
        new = _new_wheel(wheel, clone, temporary / "wheel")
        if new.same_content(old):
            print(f"This project already has this version, Thaw {old.version}.")
            return 0
        merge = _merge_files(project, old, new, favoured)
        if merge.conflicts:
            raise UserError(_describe_conflicts(merge.conflicts))
        parameters, command = _recompose(merge, project, temporary, old, new)
        _apply(merge.changed, project)
    print(f"Replaced Thaw {old.version} by Thaw {new.version}.")
    for title, lines in (
        ("Changed files", sorted(merge.changed)),
        (
            "Files that stay as you edited or removed them, though the new version differs",
            merge.kept,
        ),
        ("Changed parameters", parameters),
    ):
        if lines:
            print(f"{title}:\n{bullet_list(lines, most=len(lines))}")
    print(
        "Every stage will run again, because each depends on the library. Decoded images, features "
        "and augmented views are reused from the store.\n"
        f"Next: git diff, git add --all, git commit, make setup, {command}"
    )
    return 0


def _pinned_wheel(project: Path) -> Wheel:
    """Return the wheel of a project whose git work tree is clean."""
    wheels = sorted((project / "vendor").glob("thaw-*.whl"))
    if len(wheels) != 1 or not (project / "dvc.yaml").exists():
        raise UserError(
            "expected a project that `thaw new` created, with one wheel vendor/thaw-VERSION.whl. "
            "Change to its root folder. For a project without vendor/ see `thaw help upgrading`."
        )
    status = _git("status", "--porcelain", "--untracked-files=no")
    if status.returncode or status.stdout:
        reason = status.stderr.strip() or bullet_list(status.stdout.splitlines())
        raise UserError(f"the git work tree is not clean. Commit or stash first:\n{reason}")
    return Wheel(wheels[0])


def _new_wheel(wheel: str | None, clone: str | None, folder: Path) -> Wheel:
    if wheel is not None:
        return Wheel(Path(wheel))
    if clone is None:
        return make_wheel(folder)
    source = Path(clone).resolve()
    if not (source / "thaw" / "cli" / "wheel.py").exists():
        raise UserError(f"--from {clone}: expected a clone of Thaw.")
    done = _run_library(source, source, "-m", "thaw.cli.wheel", str(folder))
    return Wheel(Path(done.splitlines()[-1]))


def _merge_files(project: Path, old: Wheel, new: Wheel, favoured: dict[str, str]) -> Merge:
    """Merge the new version of each file into the project's."""
    name = _project_name(project)
    bases, updates = old.project_files(name, new), new.project_files(name, new)
    merge = Merge()
    for file in sorted({*bases, *updates}):
        path = project / file
        content = path.read_bytes() if path.exists() else None
        base, theirs = bases.get(file), updates.get(file)
        # with the new pin on all three sides, the pin itself is no change to merge
        ours = content and old.repin(content, new)
        if ours == base:
            merged = theirs
        elif base == theirs or ours == theirs:
            merged = ours
        elif ours is None or theirs is None:
            merged = ours
            merge.kept.append(file)
        else:
            merged, conflicts = _merge_file(base or b"", ours, theirs, favoured.get(file))
            if conflicts:
                merge.conflicts[file] = conflicts
        if merged != content:
            merge.changed[file] = merged
    merge.changed[f"vendor/{old.path.name}"] = None
    merge.changed[f"vendor/{new.path.name}"] = new.path.read_bytes()
    return merge


def _merge_file(
    base: bytes, ours: bytes, theirs: bytes, favoured: str | None
) -> tuple[bytes, list[str]]:
    """Return the merged content, and its conflicts with their markers."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, side) for side in ("ours", "base", "theirs")]
        for path, content in zip(paths, (ours, base, theirs), strict=True):
            Path(path).write_bytes(content)
        options = [f"--{favoured}"] if favoured else []
        command = ["git", "merge-file", "--stdout", *options, *LABELS, *paths]
        merged = subprocess.run(command, capture_output=True)
    if merged.returncode > 127:  # else the number of conflicts
        raise UserError(f"{' '.join(command)} failed: {merged.stderr.decode().strip()}")
    text = merged.stdout.decode(errors="replace")
    return merged.stdout, CONFLICT.findall(text) if merged.returncode else []


def _describe_conflicts(conflicts: dict[str, list[str]]) -> str:
    parts = [f"{file}:\n" + "\n".join(parts) for file, parts in conflicts.items()]
    listed = "\n\n".join(parts)
    return (
        f"{len(conflicts)} files have edits that conflict with the new version. Nothing was "
        f"changed.\n\n{listed}\n\nFor each file choose --ours FILE or --theirs FILE; all other "
        f"edits of the file are kept. Or edit the file, commit, and run the command again."
    )


def _recompose(
    merge: Merge, project: Path, temporary: Path, old: Wheel, new: Wheel
) -> tuple[list[str], str]:
    """Add the params.yaml that the new version composes to the changed files.

    Each version composes its own conf/ in a copy of the project, whose files then change.

    Returns:
        A line for each parameter that differs, and the command that runs the project with the
        choices (`-S`) that params.yaml had beside conf/.
    """
    copy, before, after = (temporary / name for name in ("copy", "before.yaml", "after.yaml"))
    cloned = _git("clone", "--quiet", str(project), str(copy))
    if cloned.returncode:
        raise UserError(f"git clone failed: {cloned.stderr.strip()}")
    library = old.extract(temporary / "old")
    _run_library(library, copy, "-c", COMPOSE, str(before))
    choices = [
        f"-S {key}={format_override(chosen)}"
        for key, chosen, _ in _differences(project / "params.yaml", before)
    ]
    _apply(merge.changed, copy)
    library = new.extract(temporary / "new")
    _run_library(library, copy, "-c", COMPOSE, str(after))
    if after.read_bytes() != (project / "params.yaml").read_bytes():
        merge.changed["params.yaml"] = after.read_bytes()
    changes = _differences(before, after)
    gone = [key for key, _, now in changes if now is ABSENT]
    messages = json.loads(_run_library(library, copy, "-c", RENAMED, *gone))
    renamed = dict(zip(gone, messages, strict=True))
    lines = [
        renamed[key] or f"{key} was removed"
        if now is ABSENT
        else f"{key} is new: {format_override(now)}"
        if value is ABSENT
        else f"{key}: {format_override(value)} -> {format_override(now)}"
        for key, value, now in changes
    ]
    command = f"dvc exp run {' '.join(choices)} (params.yaml had these choices)"
    return lines, command if choices else "dvc repro"


def _differences(before: Path, after: Path) -> list[tuple[str, Any, Any]]:
    """Return the differences of two params.yaml, without what the resolver derives."""
    trees = [{**read_params(file=file), "derived": None} for file in (before, after)]
    return differences(trees[0], trees[1])


def _apply(changed: dict[str, bytes | None], project: Path) -> None:
    """Write and remove files; if one fails, restore all."""
    paths = {project / file: content for file, content in changed.items()}
    before = {path: path.read_bytes() if path.exists() else None for path in paths}
    try:
        for path, content in paths.items():
            _write(path, content)
    except BaseException:
        for path, content in before.items():
            _write(path, content)
        raise


def _write(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _run_library(library: Path, folder: Path, *arguments: str) -> str:
    """Run Python in `folder` with the modules of `library`, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(library)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        message = re.split("thaw: |UserError: ", done.stderr.strip())[-1]
        raise UserError(f"Nothing was changed. {message}")
    return done.stdout


def _project_name(project: Path) -> str:
    match = re.search(r'(?m)^name = "(.+)"', (project / "pyproject.toml").read_text("utf-8"))
    return match[1] if match else "project"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True)
