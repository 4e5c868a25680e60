"""A clone of a commit, in which benchmarks run `dvc` as a user does."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Clone:
    """Made in an empty folder.

    Args:
        shared: with this repository's cache and store, so that nothing is computed twice; else
            with its own, empty ones.
        source: the repository that is cloned.
        at: the commit; none: the last.

    Attributes:
        commit: its short name.
    """

    def __init__(self, folder: Path, shared: bool, source: Path = ROOT, at: str | None = None):
        self.folder = folder
        subprocess.run(["git", "clone", "--quiet", str(source), str(folder)], check=True)
        if at:
            self._said("git", "checkout", "--quiet", at)
        for key in ("user.name", "user.email"):
            self._said("git", "config", key, "thaw@localhost")
        self.commit = self._said("git", "rev-parse", "--short", "HEAD").strip()
        if shared:
            self.dvc("cache", "dir", "--local", str((ROOT / ".dvc/cache").resolve()))

    def _said(self, *command: str) -> str:
        return subprocess.run(
            command, cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def save(self) -> None:
        """Commit what the runs recorded."""
        self._said("git", "commit", "--quiet", "--all", "--message", "recorded")

    def read(self, file: str) -> dict:
        """A YAML or JSON file of the clone."""
        import yaml

        return yaml.safe_load((self.folder / file).read_text(encoding="utf-8"))

    def dvc(self, *arguments: str, quiet: bool = False) -> "Run":
        """Run `dvc ARGUMENTS` and show what it says, unless `quiet`; a failure ends all."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "dvc", *arguments],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        run = Run()
        for line in process.stdout:
            run.hear(line)
            if not quiet:
                print(line, end="", flush=True)
        if process.wait():
            sys.exit(f"dvc {' '.join(arguments)} ended with {process.returncode}:\n{run.said}")
        run.end()
        return run


class Run:
    """What a run of `dvc` said and how long its parts took.

    Attributes:
        said: all of it.
        whole: seconds from start to end.
        seconds: of each stage that ran, its process's start included.
        first: of each stage that trains, until its first epoch begins.
        epochs: seconds of each epoch of each stage, the last one left out, whose end is not told.
    """

    def __init__(self):
        self.said, self.seconds, self.first, self.epochs = "", {}, {}, {}
        self._started = self._stage_started = self._epoch_started = time.monotonic()
        self._stage: str | None = None

    def hear(self, line: str) -> None:
        """Take in a line just printed."""
        self.said += line
        now = time.monotonic()
        if line.startswith(("Running stage", "Updating lock", "Generating lock")):
            self.end()
            self._stage = line.split("'")[1] if line.startswith("Running") else None
            self._stage_started = now
        elif line.startswith("Epoch ") and self._stage:
            epochs = self.epochs.setdefault(self._stage, [])
            if line.startswith("Epoch 1/"):
                self.first[self._stage] = now - self._stage_started
            else:
                epochs.append(now - self._epoch_started)
            self._epoch_started = now

    def end(self) -> None:
        """The stage, or the run, is over."""
        self.whole = time.monotonic() - self._started
        if self._stage:
            self.seconds[self._stage] = time.monotonic() - self._stage_started
            self._stage = None
