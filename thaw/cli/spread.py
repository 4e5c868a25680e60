"""Spread experiments over a Ray cluster: `python -m thaw.cli.spread -S KEY=A,B,... [...]`.

Each combination is an experiment in a clone of its own, somewhere in the cluster: it pulls from the
DVC remote what it needs, runs what the change reaches, and pushes the experiment to the Git remote,
its files and its run cache to the DVC remote. `dvc exp pull origin -A` then has them all here.

So HEAD must be pushed, and both remotes must be reachable from every node, under the names that the
repository has for them: the DVC remote's in .dvc/config. Secrets do not travel; a node has its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from thaw.config.runtime import validate_runtime
from thaw.errors import UserError, exception_hook
from thaw.runtime.ray_workers import ray_cluster

LINES = 12
"""Of what a failed experiment said, that are shown."""


def main() -> int:
    """Run all; give 1 if an experiment failed."""
    sys.excepthook = exception_hook("interrupted. What experiments have pushed is kept.")
    parser = argparse.ArgumentParser("spread", description=__doc__.splitlines()[0])
    parser.add_argument("-S", action="append", default=[], dest="sets", metavar="KEY=A,B,...")
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="as of dvc exp run")
    parser.add_argument("--address", help="HOST:PORT of a cluster; default: one is started here")
    parser.add_argument("--cores", type=int, default=1, help="set aside for each; default: 1")
    parser.add_argument("--git", default="origin", help="the Git remote; default: origin")
    given = parser.parse_args()
    values = {"address": given.address, "workers": None, "threads": given.cores}
    there = validate_runtime({"kind": "ray", **values})
    url, commit = _said("git", "remote", "get-url", given.git), _said("git", "rev-parse", "HEAD")
    if os.path.isdir(url):
        url = os.path.abspath(url)
    if not _said("dvc", "config", "core.remote"):
        raise UserError(
            "no DVC remote is set by default. Expected one that every node reaches: dvc remote add "
            "-d NAME URL, and commit .dvc/config."
        )
    every = combinations(given.sets)
    failed = 0
    with ray_cluster(there):
        import ray

        # a task whose worker or node is lost is done again elsewhere, by Ray
        one = ray.remote(num_cpus=given.cores, max_retries=3)(experiment)
        running = {one.remote(url, commit, sets, given.targets): sets for sets in every}
        print(f"{len(every)} experiments", flush=True)
        while running:
            for task in ray.wait(list(running))[0]:
                sets, (passed, said) = running.pop(task), ray.get(task)
                failed += not passed
                shown = "pushed" if passed else "failed:\n  " + "\n  ".join(said[-LINES:])
                print(f"{' '.join(sets) or 'no change'}: {shown}", flush=True)
    return min(failed, 1)


def combinations(sets: list[str]) -> list[list[str]]:
    """Every combination of the values that `-S KEY=A,B` names, as DVC's queue has them."""
    from dvc.utils.hydra import get_hydra_sweeps

    return [sweep["params.yaml"] for sweep in get_hydra_sweeps({"params.yaml": sets})]


def experiment(url: str, commit: str, sets: list[str], targets: list[str]) -> tuple:
    """Run and push one experiment in a clone of its own.

    Returns:
        Whether all went well, and the lines that were said.
    """
    said: list[str] = []
    with tempfile.TemporaryDirectory(prefix="thaw-") as folder:
        for command in _commands(url, commit, sets, targets):
            done = subprocess.run(
                command,
                cwd=folder,
                env=_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            said += [f"$ {' '.join(command)}", *done.stdout.splitlines()]
            if done.returncode:
                return False, said
    return True, said


def _commands(url: str, commit: str, sets: list[str], targets: list[str]) -> Iterator[list[str]]:
    yield ["git", "clone", "--quiet", url, "."]
    yield ["git", "checkout", "--quiet", commit]  # fails where it was not pushed
    for key in ("user.name", "user.email"):
        yield ["git", "config", key, "thaw@localhost"]
    changes = [part for change in sets for part in ("-S", change)]
    yield ["dvc", "exp", "run", "--pull", "--allow-missing", *targets, *changes]
    yield ["dvc", "exp", "push", "--run-cache", "origin"]


def _environment() -> dict[str, str]:
    """With the programs beside this Python, and nothing that names another repository or code."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_", "PYTHONPATH"))}
    return {**kept, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}


def _said(*command: str) -> str:
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    if done.returncode and command[:2] != ("dvc", "config"):
        raise UserError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
