"""Texts for callers who may not see where files lie on the service's machine."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

PROGRAM = Path(__file__).parents[1]  # where the bundled weights are


def without_places(text: str, places: Iterable[str | Path]) -> str:
    """`text` with each of these folders and files named by the last part of its path alone."""
    for place in sorted({str(place).rstrip("/") for place in places} - {""}, key=len, reverse=True):
        text = text.replace(place, PurePosixPath(place).name)
    return text
