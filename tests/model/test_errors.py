"""Every error of `model` has a code of its own."""

import ast
import re
from pathlib import Path

import anyseek.model.errors

FOLDER = Path(anyseek.model.errors.__file__).parent


def _errors() -> dict[str, ast.ClassDef]:
    """Every class that is a `ModelError`, by name, from the sources."""
    classes = [
        node
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    errors: dict[str, ast.ClassDef] = {}
    while found := [one for one in classes if one.name not in errors and _bases(one) & {"ModelError", *errors}]:
        errors |= {one.name: one for one in found}
    return errors


def _bases(of: ast.ClassDef) -> set[str]:
    return {base.id for base in of.bases if isinstance(base, ast.Name)}


def _code(of: ast.ClassDef) -> str:
    values = [node.value for node in of.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code"]
    return str(ast.literal_eval(values[0])) if values else ""


def test_every_code_is_stable_words_and_unique() -> None:
    codes = {name: _code(one) for name, one in _errors().items()}
    assert not {name: code for name, code in codes.items() if not re.fullmatch("[a-z]+(-[a-z]+)*", code)}
    assert len(set(codes.values())) == len(codes)
