"""No module reaches itself through its imports, those inside functions included."""

from pathlib import Path

from benchmarks.structure import find_cycles, read_imports, read_modules


def test_no_modules_import_each_other_in_a_cycle() -> None:
    assert find_cycles(read_imports(read_modules())) == []


def test_a_cycle_through_a_lazy_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.py").write_text("import anyseek.model.b\n")
    (tmp_path / "model" / "b.py").write_text("def load():\n    from anyseek.model.c import x\n")
    (tmp_path / "model" / "c.py").write_text("from anyseek.model import a\n")
    (tmp_path / "model" / "d.py").write_text("from anyseek.model import c\n")
    assert find_cycles(read_imports(read_modules(tmp_path))) == [
        ["anyseek.model.a", "anyseek.model.b", "anyseek.model.c"]
    ]
