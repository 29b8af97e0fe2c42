"""No module reaches itself through its imports, those inside functions included."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("anyseek", "api", "workers", "indexer", "search", "model")


def imports_of(root: Path) -> dict[str, set[str]]:
    """For each module of the product the modules that it imports, at the top or inside a function."""
    files = (path for folder in FOLDERS for path in (root / folder).rglob("*.py") if not path.is_symlink())
    modules = {name_of(path.relative_to(root)): path for path in files}
    return {name: set(imported(path, modules)) & modules.keys() - {name} for name, path in modules.items()}


def name_of(path: Path) -> str:
    parts = [part for part in path.with_suffix("").parts if part not in ("anyseek", "__init__")]
    return ".".join(["anyseek", *parts])


def imported(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(imports_of(ROOT)).prepare()


def test_a_circle_through_a_lazy_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.py").write_text("import anyseek.model.b\n")
    (tmp_path / "model" / "b.py").write_text("def load():\n    from anyseek.model.c import x\n")
    (tmp_path / "model" / "c.py").write_text("from anyseek.model import a\n")
    with pytest.raises(CycleError):
        TopologicalSorter(imports_of(tmp_path)).prepare()
