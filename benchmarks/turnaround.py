"""Seconds and memory of what a user waits for: `python -m benchmarks.turnaround [--bare]`.

In a clone of the last commit that shares this repository's cache: `dvc repro` with nothing to do,
and one changed hyperparameter of fc256 from the command to its metrics, with ten epochs whatever
the patience says. With --bare also `make repro` from a bare clone with an empty cache (packages
come from pip's and uv's own caches), and its peak memory. With --grid 16 also so many queued
settings of fc256, by two workers of a thread each, against as many single runs.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def timed(*command: str, at: Path) -> float:
    """Seconds that a command takes, which must succeed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("VIRTUAL_ENV", None)
    started = time.perf_counter()
    subprocess.run(command, cwd=at, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _finished(clone: Path) -> float:
    """Seconds until no experiment is queued or running; ends the process if one failed."""
    started = time.perf_counter()
    while True:
        time.sleep(1)
        said = subprocess.run(
            ["dvc", "queue", "status"], cwd=clone, check=True, capture_output=True, text=True
        ).stdout
        if "Failed" in said:
            sys.exit(said)
        if "Queued" not in said and "Running" not in said:
            return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--grid", type=int, metavar="N")
    parser.add_argument("-S", action="append", default=[], dest="given", metavar="KEY=VALUE")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "thaw"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for key in ("user.name", "user.email"):
            subprocess.run(["git", "config", key, "thaw@localhost"], cwd=clone, check=True)
        if chosen.bare:
            print(f"make repro, bare clone: {timed('make', 'repro', at=clone):.0f} s", flush=True)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            print(f"peak memory of its largest process: {peak:.2f} GiB")
        else:
            cache = str((ROOT / ".dvc/cache").resolve())
            subprocess.run(["dvc", "cache", "dir", "--local", cache], cwd=clone, check=True)
            subprocess.run(["dvc", "checkout", "--quiet"], cwd=clone, check=True)
        timed("dvc", "repro", at=clone)
        print(f"dvc repro, nothing to do: {timed('dvc', 'repro', at=clone):.1f} s")
        given = [*chosen.given, "subnets.fc256.epochs=10", "subnets.fc256.patience=null"]
        asked = ["dvc", "exp", "run", "evaluate_subnet@fc256"]
        asked += [part for override in given for part in ("-S", override)]
        timed(*asked, at=clone)
        single = timed(*asked, "-S", "subnets.fc256.dropout=0.31", at=clone)
        print(f"one hyperparameter of fc256, ten epochs: {single:.1f} s", flush=True)
        if chosen.grid:
            subprocess.run(["git", "commit", "-qam", "settled"], cwd=clone, check=True)
            rates = ",".join(f"{0.2 + n / 100:.2f}" for n in range(chosen.grid))
            queued = [*asked, "--queue", "-S", "threads=1", "-S", f"subnets.fc256.dropout={rates}"]
            seconds = timed(*queued, at=clone)
            print(f"{chosen.grid} settings queued in {seconds:.1f} s", flush=True)
            seconds += timed("dvc", "queue", "start", "-j", "2", at=clone)
            seconds += _finished(clone)
            print(f"and run by two workers: {seconds:.0f} s, {seconds / single:.1f} single runs")


if __name__ == "__main__":
    main()
