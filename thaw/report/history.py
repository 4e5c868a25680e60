"""How the results came about: stages, what each took, parameters, versions and machine."""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import networkx as nx
import yaml

from thaw.composition import compose, differences, format_override
from thaw.report.changes import git
from thaw.report.results import RunResults

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
BOX = (150, 44)
GAP = (22, 34)
"""Of the graph, in pixels."""


@dataclass
class Stage:
    """Attributes:
    state: `ran`, `kept` (unchanged, or taken from the cache), or `unknown`.
    run: the run log's last line of it.
    stale: what differs now from when it ran.
    x, y: where its box lies in the graph.
    """

    name: str
    state: str = "unknown"
    run: dict | None = None
    stale: list[str] = field(default_factory=list)
    x: float = 0
    y: float = 0

    @property
    def family(self) -> str:
        return self.name.partition("@")[0]

    @property
    def key(self) -> str:
        return self.name.partition("@")[2]


@dataclass
class Story:
    """Attributes:
    edges: (from, to) stages.
    width, height: of the graph.
    since: when the run began whose stages count as run; none: not known.
    differing: (parameter, default, here); none where conf/ does not compose.
    digests: (path, MD5 as DVC has it).
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
        return any(stage.run for stage in self.stages)


def tell(found: RunResults, since: str | None) -> Story:
    """Read dvc.yaml, dvc.lock, the run log and this machine."""
    names = _names(found.parameters)
    lock = _yaml("dvc.lock").get("stages") or {}
    graph = _graph(names, lock)
    stages = {name: Stage(name) for name in names}
    last = {run["stage"].replace(" ", "@"): run for run in found.runs}
    for name, stage in stages.items():
        stage.run = last.get(name)
        stage.stale = _stale(lock.get(name), found.parameters)
        if since is not None:
            ran = stage.run is not None and _time(stage.run["started"]) >= _time(since)
            stage.state = "ran" if ran else "kept"
    width, height = _place(stages, graph)
    return Story(
        list(stages.values()),
        [(stages[a], stages[b]) for a, b in graph.edges],
        width,
        height,
        since,
        _differing(found.parameters),
        _digests(lock),
        git("log", "-1", "--format=%H %s"),
        bool(git("status", "--porcelain", "--untracked-files=no")),
        _versions(),
        _machine(),
    )


def _names(parameters: dict) -> list[str]:
    """The stages of dvc.yaml as these parameters unfold them."""
    names = []
    for name, stage in (_yaml("dvc.yaml").get("stages") or {}).items():
        if "foreach" not in stage:
            names.append(name)
            continue
        each = stage["foreach"]
        if isinstance(each, str):
            value = parameters
            for key in re.fullmatch(r"\$\{(.*)\}", each).group(1).split("."):
                value = value[key]
            each = value
        names += [f"{name}@{key}" for key in each]
    return names


def _graph(names: list[str], lock: dict) -> nx.DiGraph:
    """An edge from each stage to those that read what it wrote, but for those that follow from
    others."""
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
    """Lay the stages in rows, each below all that it reads; give the graph's size."""
    rows = [sorted(row, key=list(stages).index) for row in nx.topological_generations(graph)]
    for depth, row in enumerate(rows):  # below what they read, so that few lines cross
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


def _stale(entry: dict | None, parameters: dict) -> list[str]:
    """The code and the parameters of a stage that are no longer those it ran with."""
    if entry is None:
        return ["it is not in dvc.lock: it has not run"]
    found = []
    for dep in entry.get("deps", ()):
        path = Path(dep["path"])
        if path.suffix == ".py" and "md5" in dep:
            now = _md5(path) if path.exists() else None
            if now != dep["md5"]:
                found.append(dep["path"])
    for key, then in (entry.get("params", {}).get("params.yaml") or {}).items():
        value = parameters
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not _same(value, then):
            found.append(key)
    return found


def _same(one, other) -> bool:
    """Whether two values of YAML are the same; DVC writes 1e-07, which PyYAML takes for text."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) != isinstance(other, float):
        with contextlib.suppress(ValueError, TypeError):
            return float(one) == float(other)
    return one == other


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _differing(parameters: dict) -> list[tuple[str, str, str]] | None:
    try:
        default = compose()
    except Exception:  # Hydra's own errors are of many kinds; conf/ may be half edited
        return None
    default["scheme"] = parameters.get("scheme")
    differing = differences(default, parameters)
    return [(key, format_override(then), format_override(now)) for key, then, now in differing]


def _digests(lock: dict) -> list[tuple[str, str]]:
    wanted = ["data/raw", "data/images", "data/index.csv", "data/split.csv"]
    have = {o["path"]: o.get("md5") for s in lock.values() for o in s.get("outs", ())}
    return [(path, have[path]) for path in wanted if have.get(path)]


def _versions() -> list[tuple[str, str]]:
    found = [("Python", platform.python_version())]
    for package, name in PACKAGES.items():
        try:
            found.append((name, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _machine() -> list[tuple[str, str]]:
    """What is not the machine's own name."""
    name = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text()
        name = re.search(r"(?m)^model name\s*:\s*(.+)$", text).group(1)
    except (OSError, AttributeError):
        pass
    found = [
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("processor", f"{name}, {os.cpu_count()} cores"),
    ]
    if sys.platform == "linux":
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found.append(("memory", f"{memory / 2**30:.0f} GiB"))
    return found


def _yaml(path: str) -> dict:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if not Path(path).exists():
        return {}
    return yaml.load(Path(path).read_text(encoding="utf-8"), loader) or {}


def _time(text: str) -> datetime:
    """A moment from ISO 8601; without a zone it is the machine's."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone() if moment.tzinfo is None else moment
