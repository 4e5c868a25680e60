"""Seconds and memory of what a user waits for: `python -m benchmarks.turnaround [--bare]`.

In a clone of the last commit that shares this repository's cache: `dvc repro` with nothing to do,
and one changed hyperparameter of fc256 from the command to its metrics. With --bare also `make
repro` from a bare clone with an empty cache (packages come from pip's and uv's own caches), and its
peak memory.
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bare", action="store_true")
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
        changed = ["dvc", "exp", "run", "evaluate_subnet@fc256", "-S", "subnets.fc256.dropout=0.31"]
        print(f"one hyperparameter of fc256: {timed(*changed, at=clone):.1f} s")


if __name__ == "__main__":
    main()
