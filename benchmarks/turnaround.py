"""Measure the time and memory that a user waits for: `python -m benchmarks.turnaround [--bare]`.

In a clone of the last commit that shares this repository's cache: `dvc repro` with nothing to do,
and one changed hyperparameter of fc256 from the command to its metrics, with ten epochs and no
early stopping. With --bare also `make repro` from a bare clone with an empty cache (packages come
from pip's and uv's own caches), and its peak memory. With --grid 16 also 16 queued settings of
fc256 by two workers with one thread each, compared with as many single runs.
"""

import argparse
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.clone import Clone

STAGE = "evaluate@fc256"


def main() -> None:
    """Measure and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--grid", type=int, metavar="N")
    parser.add_argument("-S", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    chosen = parser.parse_args()
    os.environ.pop("THAW_STORE", None)
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder) / "thaw", shared=not chosen.bare)
        if chosen.bare:
            started = time.perf_counter()
            subprocess.run(
                ["make", "repro"], cwd=clone.folder, check=True, stdout=subprocess.DEVNULL
            )
            print(f"make repro, bare clone: {time.perf_counter() - started:.0f} s", flush=True)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            print(f"peak memory of its largest process: {peak:.2f} GiB")
        unseen = int(time.time()) % 2**31  # so that the shared run cache has no result
        overrides = [*chosen.overrides, "subnets.fc256.epochs=10", "subnets.fc256.patience=null"]
        asked = ["exp", "run", STAGE, *(part for o in overrides for part in ("-S", o))]
        clone.dvc(*asked, quiet=True)
        nothing = clone.dvc("repro", STAGE, quiet=True)
        print(f"dvc repro, nothing to do: {nothing.total:.2f} s")
        other = ["-S", f"subnets.fc256.dropout={0.3 + unseen / 1e10:.10f}"]
        single = clone.dvc(*asked, *other, quiet=True)
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in single.seconds.items())
        print(
            f"one hyperparameter of fc256, ten epochs: {single.total:.1f} s ({parts})", flush=True
        )
        if chosen.grid:
            grid(clone, [*asked, "-S", f"seed={unseen}"], chosen.grid, single.total)


def grid(clone: Clone, asked: list[str], count: int, single: float) -> None:
    """Print the seconds of `count` queued settings."""
    clone.save()
    rates = ",".join(f"{0.2 + n / 100:.2f}" for n in range(count))
    started = time.perf_counter()
    clone.dvc(
        *asked, "--queue", "-S", "threads=1", "-S", f"subnets.fc256.dropout={rates}",
        quiet=True,
    )  # fmt: skip
    queued = time.perf_counter() - started
    clone.dvc("queue", "start", "-j", "2", quiet=True)
    status = "Queued"
    while "Queued" in status or "Running" in status:
        time.sleep(1)
        status = clone.dvc("queue", "status", quiet=True).output
    seconds = time.perf_counter() - started
    print(
        f"{count} settings queued in {queued:.0f} s and run by two workers: {seconds:.0f} s, "
        f"{status.count('Success')} succeeded; one by one {count * single:.0f} s"
    )


if __name__ == "__main__":
    main()
