"""`thaw status`: list the stages that `dvc repro` would run, and why."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thaw.cli.durations import estimator, total
from thaw.config.base import read_params
from thaw.config.changes import differences, format_override
from thaw.errors import UserError
from thaw.storage.dvc import recorded_params

ALWAYS = "always changed"  # DVC's word for a stage that runs every time
MOST_REASONS = 5  # of one stage; more are counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `thaw status`."""
    parser.description = (
        "List the stages that `dvc repro` would run, in order, each with the files and parameters "
        "that changed, or the stage before it that runs first. `dvc status` lists only stages "
        "that changed directly. Nothing runs."
    )
    parser.add_argument(
        "--durations",
        action="store_true",
        help="print about how long each stage takes on this machine instead of the reasons",
    )
    parser.set_defaults(run=lambda arguments: status(arguments.durations))


def status(durations: bool = False) -> int:
    """Print the stages that `dvc repro` would run, and return 0.

    Args:
        durations: print their expected durations instead of their reasons.

    Raises:
        UserError: the current folder is no project, or DVC cannot read its files.
    """
    order, reasons, looks = _changed_stages()
    if durations:
        _print_durations([name for name in order if name in reasons or name in looks])
    else:
        _print_reasons(order, reasons, looks)
    print(f"`dvc repro` would run {len(reasons)} of {len(order)} stages.")
    return 0


def _print_durations(stages: list[str]) -> None:
    estimate = estimator(read_params())
    expected = {name: estimate(name) for name in stages}
    width = max(map(len, stages), default=0)
    for name, each in expected.items():
        print(f"{name.ljust(width)}  {each}")
    if stages:
        first = next((n for n, name in enumerate(stages) if name.startswith("evaluate@")), None)
        metrics = ""
        if first is not None:
            metrics = f"; first metrics after {total([*expected.values()][: first + 1])}"
        print(
            f"Together {total(expected.values())}{metrics}, if this machine does nothing else. "
            f"Downloads take longer, results in DVC's cache no time."
        )


def _print_reasons(order: list[str], reasons: dict[str, list[str]], looks: list[str]) -> None:
    for name in (name for name in order if name in reasons):
        print(f"{name}:")
        for reason in reasons[name][:MOST_REASONS]:
            print(f"  {reason}")
        if len(reasons[name]) > MOST_REASONS:
            print(f"  ... and {len(reasons[name]) - MOST_REASONS} more reasons")
    for name in looks:
        print(f"{name}: looks at the images at every run; later stages run if a file changed")


def _changed_stages() -> tuple[list[str], dict[str, list[str]], list[str]]:
    """Return all stages as `dvc repro` orders them, the reasons of those that would run, and those
    that only look for changed images.
    """
    import networkx as nx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if not Path("dvc.yaml").exists():
        raise UserError("there is no dvc.yaml here. Run this in the project's root folder.")
    try:
        with Repo() as repo:
            graph = repo.index.graph.reverse()  # from a stage to those that read its outputs
            changed = {name: list(_reasons(name, found)) for name, found in repo.status().items()}
            order = [s.addressing for s in nx.dfs_postorder_nodes(repo.index.graph)]  # as DVC
            edges = [(before.addressing, after.addressing) for before, after in graph.edges]
    except DvcException as error:
        raise UserError(f"DVC cannot read this project: {error}") from None
    looks = [name for name, reasons in changed.items() if reasons == [ALWAYS]]
    reasons = {name: found for name, found in changed.items() if name not in looks}
    for name in order:
        before = [one for one, other in edges if other == name and one in reasons]
        if before:
            reasons.setdefault(name, []).append(f"runs after {', '.join(sorted(before))}")
    return order, reasons, looks


def _reasons(stage: str, found: list[Any]) -> Iterator[str]:
    """Yield DVC's reasons for one stage in plain words."""
    for entry in found:
        if isinstance(entry, str):
            yield ALWAYS if entry == ALWAYS else entry
            continue
        for kind, changes in entry.items():
            if kind == "changed command":
                yield "its command changed"
            elif kind in ("changed deps", "changed outs"):
                for path, change in changes.items():
                    if isinstance(change, dict):  # parameters of a file
                        yield from _parameters(stage, change)
                    elif kind == "changed outs":
                        yield f"its output {path} is {_word(change)}"
                    else:
                        yield f"{path} is {_word(change)}"


def _parameters(stage: str, changes: dict[str, str]) -> Iterator[str]:
    """Yield each parameter that changed, with its recorded and its current value."""
    recorded = recorded_params(stage)
    for key, change in changes.items():
        if key not in recorded or change == "deleted":
            yield f"parameter {key} is {_word(change)}"
            continue
        current = read_params(*key.split("."))
        for name, old, new in differences({key: recorded[key]}, {key: current}):
            yield f"parameter {name} changed from {format_override(old)} to {format_override(new)}"


def _word(change: str) -> str:
    """Return DVC's word for a change as an adjective."""
    return {"not in cache": "not in DVC's cache", "deleted": "missing"}.get(change, change)
