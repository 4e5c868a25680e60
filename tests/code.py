"""Which files of ours a file of ours imports, wherever in it; and dvc.yaml written after it.

After an import was added or removed, `python -m tests.code` puts dvc.yaml right.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHOSEN = {"download": "sources", "train_network": "networks"}
"""Stages with code that a parameter chooses, and the room it is chosen from."""


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


def expected(stage: str) -> set[str]:
    """The code that dvc.yaml should name for a stage: what starts stages, what its file
    imports, and what any of the files that a parameter can choose imports besides itself."""
    code = imported("stages/__main__.py") | imported(f"stages/{stage}.py")
    if stage in CHOSEN:
        for path in (ROOT / "stages" / CHOSEN[stage]).glob("*.py"):
            if "\nclass Parameters(" in path.read_text(encoding="utf-8"):
                relative = path.relative_to(ROOT).as_posix()
                code |= imported(relative) - {relative}
    return code


def corrected(text: str) -> str:
    """dvc.yaml with the code of every stage as expected."""
    parts = re.split(r"(?m)^(?=  [a-z_]+:)", text)
    for number, part in enumerate(parts):
        stage = part.strip().split(":")[0]
        if (ROOT / "stages" / f"{stage}.py").exists():
            indent = re.search(r"(?m)^( +)- stages/[a-z_/]+\.py$", part).group(1)
            lines = "".join(f"{indent}- {path}\n" for path in sorted(expected(stage)))
            parts[number] = re.sub(r"(?m)(?:^ +- stages/[a-z_/]+\.py\n)+", lines, part, count=1)
    return "".join(parts)


if __name__ == "__main__":
    file = ROOT / "dvc.yaml"
    file.write_text(corrected(file.read_text(encoding="utf-8")), encoding="utf-8")
