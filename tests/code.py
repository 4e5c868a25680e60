"""What a file of ours imports of ours, wherever in it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def imported(path: str, seen: set[str] | None = None) -> set[str]:
    """The files under stages/ that `path` runs, itself included, as paths from the root. Empty
    __init__.py files are left out."""
    seen = set() if seen is None else seen
    if path in seen:
        return seen
    seen.add(path)
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = name.replace(".", "/") + ".py"
            if name.startswith("stages.") and (ROOT / file).exists():
                imported(file, seen)
    return seen
