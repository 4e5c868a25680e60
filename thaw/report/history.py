"""Describe how the results were produced: stages, durations, parameters, versions, machine."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import networkx as nx
import yaml

from thaw.composition import compose
from thaw.config.base import Loader
from thaw.config.changes import differences, format_override
from thaw.report.changes import git
from thaw.report.run_results import RunResults
from thaw.storage.dvc import recorded_stages

PACKAGES = {
    "dvc": "DVC",
    "hydra-core": "Hydra",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "tensorflow-cpu": "TensorFlow, CPU build",
    "numpy": "NumPy",
    "scikit-learn": "scikit-learn",
    "pandas": "pandas",
    "pillow": "Pillow",
    "matplotlib": "matplotlib",
}
BOX = (150, 44)  # width and height of a stage in the graph, in pixels
GAP = (22, 34)  # between two stages, in pixels

Lock = dict[str, dict[str, Any]]  # stages of dvc.lock by name


@dataclass
class Stage:
    """A stage of the pipeline.

    Attributes:
        name: as DVC shows it, with the key of its `foreach` after an @.
        state: `ran`, `kept` (unchanged, or restored from the cache) or `unknown`.
        run: the last line of the run log about it.
        changed: code and parameters that differ from those it ran with.
        x, y: position of its box in the graph, in pixels.
    """

    name: str
    state: str = "unknown"
    run: dict[str, Any] | None = None
    changed: list[str] = field(default_factory=list)
    x: float = 0
    y: float = 0

    @property
    def family(self) -> str:
        """The name without the key."""
        return self.name.partition("@")[0]

    @property
    def key(self) -> str:
        """The key of a `foreach` stage, otherwise empty."""
        return self.name.partition("@")[2]


@dataclass
class History:
    """How the results were produced.

    Attributes:
        stages: in the order of dvc.yaml.
        edges: pairs of stages, the second of which reads outputs of the first.
        width, height: size of the graph in pixels.
        since: start of the run whose stages count as run; None if it is not known.
        differing: (parameter, default, current value); None if conf/ does not compose.
        digests: (path, MD5) of data artifacts, from dvc.lock.
        commit: hash and subject of the current commit.
        edited: whether tracked files have uncommitted changes.
        versions: (package, version).
        machine: (property, value).
    """

    stages: list[Stage]
    edges: list[tuple[Stage, Stage]]
    width: float
    height: float
    since: str | None
    differing: list[tuple[str, str, str]] | None
    digests: list[tuple[str, str]]
    commit: str | None
    edited: bool
    versions: list[tuple[str, str]]
    machine: list[tuple[str, str]]

    @property
    def recorded(self) -> bool:
        """Whether the run log has a line about any stage."""
        return any(stage.run for stage in self.stages)


def read_history(results: RunResults, since: str | None) -> History:
    """Read dvc.yaml, dvc.lock, the run log, git and the properties of this machine.

    Args:
        results: of the project.
        since: ISO 8601 time; stages that started later count as run, others as kept.
    """
    names = stage_names(results.parameters)
    lock = recorded_stages()
    graph = _graph(names, lock)
    stages = {name: Stage(name) for name in names}
    last = {run["stage"].replace(" ", "@"): run for run in results.runs}
    changed_code = _changed_code(lock)
    for name, stage in stages.items():
        stage.run = last.get(name)
        stage.changed = _changed(lock.get(name), changed_code, results.parameters)
        if since is not None:
            ran = stage.run is not None and _time(stage.run["started"]) >= _time(since)
            stage.state = "ran" if ran else "kept"
    width, height = _place(stages, graph)
    return History(
        list(stages.values()),
        [(stages[a], stages[b]) for a, b in graph.edges],
        width,
        height,
        since,
        _differing(results.parameters),
        _digests(lock),
        git("log", "-1", "--format=%H %s"),
        bool(git("status", "--porcelain", "--untracked-files=no")),
        _versions(),
        machine(),
    )


def stage_names(parameters: dict[str, Any]) -> list[str]:
    """Return the stages of dvc.yaml, each `foreach` expanded by the parameters."""
    if not Path("dvc.yaml").exists():
        return []
    pipeline = yaml.load(Path("dvc.yaml").read_text(encoding="utf-8"), Loader) or {}
    names = []
    for name, stage in (pipeline.get("stages") or {}).items():
        if "foreach" not in stage:
            names.append(name)
            continue
        keys = stage["foreach"]
        if isinstance(keys, str):
            keys = _value(parameters, re.sub(r"^\$\{|\}$", "", keys)) or ()
        names += [f"{name}@{key}" for key in keys]
    return names


def _value(parameters: dict[str, Any], key: str) -> Any:
    """Return the parameter with a dotted key, None if it is missing."""
    value: Any = parameters
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _graph(names: list[str], lock: Lock) -> nx.DiGraph:
    """Return a graph with an edge from each stage to those that read its outputs.

    Edges that other edges imply are left out.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    outs = {out["path"]: name for name in names for out in lock.get(name, {}).get("outs", ())}
    for name in names:
        for dep in lock.get(name, {}).get("deps", ()):
            if (source := outs.get(dep["path"])) is not None and source != name:
                graph.add_edge(source, name)
    if not nx.is_directed_acyclic_graph(graph):
        return nx.create_empty_copy(graph)
    reduced = nx.transitive_reduction(graph)
    ordered = nx.DiGraph()
    ordered.add_nodes_from(names)
    ordered.add_edges_from(sorted(reduced.edges, key=lambda e: (names.index(e[0]), e[1])))
    return ordered


def _place(stages: dict[str, Stage], graph: nx.DiGraph) -> tuple[float, float]:
    """Place the stages in rows, each below the stages it reads from.

    Returns:
        Width and height of the graph in pixels.
    """
    rows = [sorted(row, key=list(stages).index) for row in nx.topological_generations(graph)]
    for depth, row in enumerate(rows):  # below the stages they read from, so that few edges cross
        above = {n: [stages[p].x for p in graph.predecessors(n)] for n in row}
        if depth:
            row.sort(key=lambda n: (sum(above[n]) / len(above[n]), n))
        for place, name in enumerate(row):
            stages[name].x = (place - (len(row) - 1) / 2) * (BOX[0] + GAP[0])
            stages[name].y = 2 + depth * (BOX[1] + GAP[1])
    most = max((len(row) for row in rows), default=0)
    width = most * (BOX[0] + GAP[0]) - GAP[0] + 4
    for stage in stages.values():
        stage.x += (width - BOX[0]) / 2
    return width, len(rows) * (BOX[1] + GAP[1]) - GAP[1] + 4


def _changed_code(lock: Lock) -> set[tuple[str, str]]:
    """Return the (path, recorded MD5) of code files and folders that have changed since.

    Code is what some stage depends on and no stage writes.
    """
    outs = {out["path"] for stage in lock.values() for out in stage.get("outs", ())}
    deps = [dep for stage in lock.values() for dep in stage.get("deps", ())]
    code = {(d["path"], d["md5"]) for d in deps if d["path"] not in outs and "md5" in d}
    current = {path: _md5(Path(path)) for path, _ in code}
    return {(path, recorded) for path, recorded in code if current[path] != recorded}


def _changed(
    entry: dict[str, Any] | None,
    changed_code: set[tuple[str, str]],
    parameters: dict[str, Any],
) -> list[str]:
    """Return the code and parameters of a stage that differ from those it ran with.

    The section `derived` follows from the other parameters and from conf/, so it is left out.
    """
    if entry is None:
        return ["it has not run: it is not in dvc.lock"]
    deps = entry.get("deps", ())
    changed = [dep["path"] for dep in deps if (dep["path"], dep.get("md5")) in changed_code]
    for key, recorded in (entry.get("params", {}).get("params.yaml") or {}).items():
        if not key.startswith("derived.") and not _same(_value(parameters, key), recorded):
            changed.append(key)
    return changed


def _same(one: Any, other: Any) -> bool:
    """Compare two YAML values. DVC writes 1e-07, which PyYAML reads as text."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) != isinstance(other, float):
        with contextlib.suppress(ValueError, TypeError):
            return float(one) == float(other)
    return bool(one == other)


def _md5(path: Path) -> str | None:
    """Return the MD5 of a file or folder as DVC records it, None if it does not exist."""
    if path.is_dir():
        files = [f for f in path.rglob("*") if f.is_file() and _tracked(f)]
        listing = [{"md5": _md5(f), "relpath": f.relative_to(path).as_posix()} for f in files]
        listing.sort(key=lambda entry: str(entry["relpath"]))
        content = json.dumps(listing).encode()
    elif path.exists():
        content = path.read_bytes()
    else:
        return None
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return f"{digest}.dir" if path.is_dir() else digest


def _tracked(file: Path) -> bool:
    """Whether DVC includes a file in a folder's digest, see .dvcignore."""
    return "__pycache__" not in file.parts and file.suffix != ".part"


def _differing(parameters: dict[str, Any]) -> list[tuple[str, str, str]] | None:
    """Return the parameters that differ from conf/'s defaults, without the section `derived`."""
    try:
        default = compose()
    except Exception:  # Hydra has many error types, and conf/ may be edited at the moment
        return None
    default["derived"] = parameters.get("derived")
    differing = differences(default, parameters)
    return [(key, format_override(old), format_override(new)) for key, old, new in differing]


def _digests(lock: Lock) -> list[tuple[str, str]]:
    paths = ["data/raw", "data/images", "data/index.csv", "data/split.csv"]
    recorded = {o["path"]: o.get("md5") for s in lock.values() for o in s.get("outs", ())}
    return [(path, recorded[path]) for path in paths if recorded.get(path)]


def _versions() -> list[tuple[str, str]]:
    versions = [("Python", platform.python_version())]
    for package, name in PACKAGES.items():
        try:
            versions.append((name, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def machine() -> list[tuple[str, str]]:
    """Describe this machine without its host name."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        model = re.search(r"(?m)^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text())
        name = model.group(1) if model else name
    properties = [
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("processor", f"{name}, {os.cpu_count()} cores"),
    ]
    if sys.platform == "linux":
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        properties.append(("memory", f"{memory / 2**30:.0f} GiB"))
    return properties


def _time(text: str) -> datetime:
    """Parse an ISO 8601 time; without a time zone it is local time."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone() if moment.tzinfo is None else moment
