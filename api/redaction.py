"""Redaction of paths for callers who may not see them."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

PROGRAM_FOLDER = Path(__file__).parents[1]  # where the bundled weights are


def redact_paths(text: str, paths: Iterable[str | Path]) -> str:
    """`text` with each of these folders and files replaced by the last component of its path."""
    for path in sorted({str(path).rstrip("/") for path in paths} - {""}, key=len, reverse=True):
        text = text.replace(path, PurePosixPath(path).name)
    return text
