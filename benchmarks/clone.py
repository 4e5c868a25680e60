"""Run `dvc` in a clone of a commit, as a user does."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Clone:
    """A clone of a repository.

    Args:
        folder: An empty or missing folder.
        shared: Use this repository's cache and store, so that nothing is computed twice; else
            empty ones.
        source: The repository to clone.
        at: The commit to check out; None: the last.

    Attributes:
        folder: The folder of the clone.
        commit: The abbreviated hash of the commit.
    """

    def __init__(self, folder: Path, shared: bool, source: Path = ROOT, at: str | None = None):
        self.folder = folder
        subprocess.run(["git", "clone", "--quiet", str(source), str(folder)], check=True)
        if at:
            self._output("git", "checkout", "--quiet", at)
        for key in ("user.name", "user.email"):
            self._output("git", "config", key, "thaw@localhost")
        self.commit = self._output("git", "rev-parse", "--short", "HEAD").strip()
        if shared:
            self.dvc("cache", "dir", "--local", str((ROOT / ".dvc/cache").resolve()))

    def _output(self, *command: str) -> str:
        return subprocess.run(
            command, cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def save(self) -> None:
        """Commit the files that the runs changed."""
        self._output("git", "commit", "--quiet", "--all", "--message", "recorded")

    def read(self, file: str) -> dict:
        """Return the content of a YAML or JSON file of the clone."""
        import yaml

        return yaml.safe_load((self.folder / file).read_text(encoding="utf-8"))

    def dvc(self, *arguments: str, quiet: bool = False) -> "Run":
        """Run `dvc ARGUMENTS`, print its output unless `quiet`, and exit if it fails."""
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
            run.add_line(line)
            if not quiet:
                print(line, end="", flush=True)
        if process.wait():
            sys.exit(f"dvc {' '.join(arguments)} ended with {process.returncode}:\n{run.output}")
        run.end()
        return run


class Run:
    """The output of a run of `dvc`, and the time that its parts took.

    Attributes:
        output: Everything that it printed.
        total: Seconds from start to end.
        seconds: Seconds of each stage that ran, the start of its process included.
        first: Seconds of each training stage until its first epoch begins.
        epochs: Seconds of each epoch of each stage, without the last, whose end is not printed.
    """

    def __init__(self):
        self.output, self.seconds, self.first, self.epochs = "", {}, {}, {}
        self._started = self._stage_started = self._epoch_started = time.monotonic()
        self._stage: str | None = None

    def add_line(self, line: str) -> None:
        """Record a line that was just printed."""
        self.output += line
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
        """Record the end of the stage, or of the run."""
        self.total = time.monotonic() - self._started
        if self._stage:
            self.seconds[self._stage] = time.monotonic() - self._stage_started
            self._stage = None
