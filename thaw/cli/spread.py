"""`thaw spread`: run experiments on a Ray cluster.

Each combination of values is an experiment in its own clone, on some node. The clone pulls what it
needs from the DVC remote, runs the stages that depend on the change, and pushes the experiment to
the Git remote and its files and run cache to the DVC remote. `dvc exp pull origin -A` then fetches
all of them.

HEAD must be pushed. Every node must reach both remotes under the names that the repository uses;
the DVC remote must be in .dvc/config. Secrets are not copied: each node needs its own.
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

SHOWN_LINES = 12  # the last lines of a failed experiment's output, enough for DVC's message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw spread`."""
    parser.description = (
        "Run an experiment for each combination of values on a Ray cluster, each in its own clone, "
        "and push it to the Git and DVC remotes. Fetch all of them with `dvc exp pull origin -A`."
    )
    parser.add_argument("-S", action="append", default=[], dest="overrides", metavar="KEY=A,B,...")
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="as for dvc exp run")
    parser.add_argument("--address", help="HOST:PORT of a cluster; default: start one here")
    parser.add_argument("--cores", type=int, default=1, help="for each experiment; default: 1")
    parser.add_argument("--git", default="origin", help="the Git remote; default: origin")
    parser.set_defaults(run=lambda a: spread(a.overrides, a.targets, a.address, a.cores, a.git))


def spread(
    overrides: list[str], targets: list[str], address: str | None, cores: int, git_remote: str
) -> int:
    """Run an experiment for each combination of values on a Ray cluster.

    Args:
        overrides: `KEY=A,B,...` for each parameter.
        targets: stages, as for `dvc exp run`; an empty list runs all.
        address: HOST:PORT of the cluster; None starts one on this machine.
        cores: the number of cores for each experiment.
        git_remote: the name of the Git remote that the nodes clone and push to.

    Returns:
        The exit code: 0, or 1 if an experiment failed.

    Raises:
        UserError: a remote is missing, or an argument is invalid.
    """
    sys.excepthook = exception_hook("interrupted. Experiments that were pushed are kept.")
    cluster = validate_runtime(
        {"kind": "ray", "address": address, "workers": None, "threads": cores}
    )
    url, commit = (
        _output("git", "remote", "get-url", git_remote),
        _output("git", "rev-parse", "HEAD"),
    )
    if os.path.isdir(url):
        url = os.path.abspath(url)
    if not _output("dvc", "config", "core.remote"):
        raise UserError(
            "no DVC remote is set by default. Expected one that every node reaches: dvc remote add "
            "-d NAME URL, and commit .dvc/config."
        )
    experiments = combinations(overrides)
    failed = 0
    with ray_cluster(cluster):  # type: ignore[arg-type]
        import ray

        # Ray runs a task again elsewhere if its worker or node is lost
        task = ray.remote(num_cpus=cores, max_retries=3)(experiment)
        running = {task.remote(url, commit, values, targets): values for values in experiments}
        print(f"{len(experiments)} experiments", flush=True)
        while running:
            for finished in ray.wait(list(running))[0]:
                values, (succeeded, lines) = running.pop(finished), ray.get(finished)
                failed += not succeeded
                tail = "\n  ".join(lines[-SHOWN_LINES:])
                outcome = "pushed" if succeeded else f"failed:\n  {tail}"
                print(f"{' '.join(values) or 'no change'}: {outcome}", flush=True)
    return min(failed, 1)


def combinations(overrides: list[str]) -> list[list[str]]:
    """Return each combination of the values in `KEY=A,B`, as DVC's queue would run them."""
    from dvc.utils.hydra import get_hydra_sweeps

    return [sweep["params.yaml"] for sweep in get_hydra_sweeps({"params.yaml": overrides})]


def experiment(
    url: str, commit: str, overrides: list[str], targets: list[str]
) -> tuple[bool, list[str]]:
    """Run one experiment in a temporary clone and push it.

    Returns:
        Whether it succeeded, and its output line by line.
    """
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="thaw-") as folder:
        for command in _commands(url, commit, overrides, targets):
            done = subprocess.run(
                command,
                cwd=folder,
                env=_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            lines += [f"$ {' '.join(command)}", *done.stdout.splitlines()]
            if done.returncode:
                return False, lines
    return True, lines


def _commands(
    url: str, commit: str, overrides: list[str], targets: list[str]
) -> Iterator[list[str]]:
    yield ["git", "clone", "--quiet", url, "."]
    yield ["git", "checkout", "--quiet", commit]  # fails if it was not pushed
    for key in ("user.name", "user.email"):
        yield ["git", "config", key, "thaw@localhost"]
    changes = [part for change in overrides for part in ("-S", change)]
    yield ["dvc", "exp", "run", "--pull", "--allow-missing", *targets, *changes]
    yield ["dvc", "exp", "push", "--run-cache", "origin"]


def _environment() -> dict[str, str]:
    """Return the environment with this Python first in PATH and no settings of another project."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_", "PYTHONPATH"))}
    return {**kept, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}


def _output(*command: str) -> str:
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    if done.returncode and command[:2] != ("dvc", "config"):
        raise UserError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()
