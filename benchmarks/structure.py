"""Size and structure of the code: `python -m benchmarks.structure [--modules]` prints it.

Imports are read from the source, those inside functions included, so that a cycle through a lazy import counts too.
"""

import argparse
import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("anyseek", "api", "workers", "indexer", "search", "model")
SHORT = 60  # lines; a shorter module with one importer may be better as a part of that importer

Graph = Mapping[str, frozenset[str]]


def read_modules(root: Path = ROOT) -> dict[str, Path]:
    """The dotted name of each product module, packages included, and its file."""
    files = (path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py")))
    return {_dotted_name(path.relative_to(root)): path for path in files if not path.is_symlink()}


def read_imports(modules: Mapping[str, Path]) -> Graph:
    """The product modules that each module imports, at the top or inside a function."""
    return {name: frozenset(_imported_modules(path, modules)) - {name} for name, path in modules.items()}


def find_cycles(imports: Graph) -> list[list[str]]:
    """Groups of modules that import each other in a cycle, largest first (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in imports[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            start = stack.index(name)
            groups.append(sorted(stack[start:]))
            del stack[start:]

    for name in imports:
        if name not in index:
            visit(name)
    return sorted((group for group in groups if len(group) > 1), key=len, reverse=True)


def _dotted_name(path: Path) -> str:
    parts = ("anyseek", *(part for part in path.with_suffix("").parts if part not in ("anyseek", "__init__")))
    return ".".join(parts)


def _imported_modules(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    yield inner
                elif node.module in modules:
                    yield node.module


def _count_names_across_folders(modules: Mapping[str, Path]) -> int:
    """The number of distinct names that one top-level folder imports from another."""
    names: set[str] = set()
    for name, path in modules.items():
        other_folders = set(FOLDERS) - set(name.split(".")[1:2])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and other_folders & {*(node.module or "").split(".")[1:2]}:
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return len(names)


def _count_top_modules(folder: str) -> int:
    """The number of modules at the top of a folder."""
    return sum(path.name != "__init__.py" for path in (ROOT / folder).glob("*.py"))


def _count_lines(files: Iterable[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def _count_words(files: Iterable[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").split()) for path in files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", action="store_true", help="list the short modules that have one importer")
    options = parser.parse_args()
    modules = read_modules()
    imports = read_imports(modules)
    importers = Counter(target for targets in imports.values() for target in targets)
    lengths = {name: _count_lines([path]) for name, path in modules.items()}
    single = [name for name in modules if importers[name] == 1]
    short = [name for name in single if 0 < lengths[name] < SHORT]
    cycles = find_cycles(imports)
    rows = {
        "lines of product code": sum(lengths.values()),
        "modules": len(modules),
        **{f"modules at the top of {folder}/": _count_top_modules(folder) for folder in FOLDERS[1:]},
        "modules with one importer": len(single),
        f"of these below {SHORT} lines": len(short),
        "import cycles, lazy imports counted": len(cycles),
        "modules in the largest cycle": len(cycles[0]) if cycles else 0,
        "names imported across folders": _count_names_across_folders(modules),
        "files over 400 lines": sum(length > 400 for length in lengths.values()),
        **{f"lines of {folder}": _count_lines((ROOT / folder).rglob("*.py")) for folder in ("benchmarks", "tests")},
        "words of docs": _count_words((ROOT / "docs").glob("*.md")),
        "words of CHANGELOG": _count_words([ROOT / "CHANGELOG.md"]),
    }
    for label, value in rows.items():
        print(f"{label:<40} {value:>7,}")
    if options.modules:
        print("\n".join(f"{lengths[name]:>5} {name}" for name in sorted(short)))


if __name__ == "__main__":
    main()
