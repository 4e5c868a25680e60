"""The library's import layers: a package imports only packages below it."""

import ast
import importlib
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = [  # a package imports those after it
    "cli",
    "api",
    "export",
    "serve",
    "report",
    "resolvers",
    "composition",
    "evaluation",
    "training",
    "networks",
    "models",
    "sources",
    "data",
    "runtime",
    "storage",
    "config",
    "errors",
]
REGISTRIES = {  # they import modules by name
    "thaw/data/registry.py": "sources",
    "thaw/models/registry.py": "networks",
}
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "thaw").rglob("*.py"))


def imported(path: str) -> set[str]:
    """Return the modules of the library that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] in ("thaw", "stages", "tests")}


def package(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("path", [path for path in FILES if path.count("/") > 1 or path[5] != "_"])
def test_imports_go_down(path):
    own = LAYERS.index(Path(path).parts[1].removesuffix(".py"))
    for name in imported(path) - {"thaw"}:
        assert name.startswith("thaw."), f"{path} imports {name}"
        if package(name) == REGISTRIES.get(path):
            continue
        assert LAYERS.index(package(name)) >= own, f"{path} imports {name}"


def test_every_package_has_a_layer():
    assert {Path(path).parts[1].removesuffix(".py") for path in FILES} - {"__init__"} == set(LAYERS)


def test_initial_files_are_empty_but_for_the_public_api():
    for path in FILES:
        if path.endswith("/__init__.py") and path != "thaw/__init__.py":
            assert not (ROOT / path).read_text(), path


def test_modules_are_imported_by_name_only_where_parameters_name_them():
    allowed = {
        *REGISTRIES,
        "thaw/__init__.py",
        "thaw/cli/main.py",  # the command that runs
        "thaw/config/named.py",  # kinds of source, families
        "thaw/export/export.py",  # formats
        "thaw/models/loading.py",  # classes that the user allows
        "thaw/runtime/ray_workers.py",  # in a worker, after its threads are set
        "thaw/runtime/stage.py",  # the stage's script
        "thaw/training/losses.py",  # the user's file of losses
    }
    using = {p for p in FILES if "importlib.import_module" in (ROOT / p).read_text()} | {
        p for p in FILES if "spec_from_file_location" in (ROOT / p).read_text()
    }
    assert using <= allowed


def test_no_file_is_long():
    for path in FILES:
        assert len((ROOT / path).read_text().splitlines()) <= 325, path


def test_families_and_sources_can_be_imported():
    for folder in ("networks", "sources"):
        for path in (ROOT / "thaw" / folder).glob("[!_]*.py"):
            assert hasattr(importlib.import_module(f"thaw.{folder}.{path.stem}"), "Parameters")
