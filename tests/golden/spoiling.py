"""Copies of recorded cases with one wrong number, and running them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.checkers import CheckOptions
from tests.golden.runner import CaseReport, check_directory

GOLDEN = Path(__file__).parent
VOCABULARY = Path(__file__).parents[3] / "shared/data/text_tokenizer_4m_wordpiece_30k.json"
OPTIONS = CheckOptions(VOCABULARY if VOCABULARY.is_file() else None)


def check(directory: Path, name: str) -> CaseReport:
    (report,) = check_directory(directory, OPTIONS, name)
    return report


def copy(name: str, to: Path) -> Path:
    """Copy a case and what lies beside it; returns the copied case."""
    tag = name.split(".")[0]
    for path in [*GOLDEN.glob("*_manifest.json"), *GOLDEN.glob(f"{tag}.*")]:
        shutil.copy(path, to)
    return to / f"{name}.npz"


def spoil(case: Path, array: str, change: float) -> None:
    with np.load(case) as file:
        arrays: dict[str, Any] = {key: file[key] for key in file.files}
    values = arrays[array].copy()
    values.flat[0] = not values.flat[0] if values.dtype == bool else values.flat[0] + change
    np.savez(case, **arrays | {array: values})


def spoil_json(directory: Path, name: str, *place: str | int, value: object) -> None:
    """Copy a JSON case with one entry replaced, found by its keys."""
    document = json.loads((GOLDEN / f"{name}.json").read_text())
    entry = document
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = value
    (directory / f"{name}.json").write_text(json.dumps(document))
