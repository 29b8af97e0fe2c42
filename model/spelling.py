"""Suggestions for misspelt names."""

import difflib
from collections.abc import Iterable

_ALIKE_FROM = 0.7


def close_names(text: str, known: Iterable[str]) -> list[str]:
    """Up to three of `known` with similar spelling, ignoring case; the nearest first."""
    by_lower = {name.lower(): name for name in known}
    return [by_lower[found] for found in difflib.get_close_matches(text.lower(), by_lower, n=3, cutoff=_ALIKE_FROM)]


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """An error message for a name not in `known`, with the nearest of them, or else with all."""
    names = list(known)
    said = f"unknown {what} `{name[:40]}`"
    if near := close_names(name[:40], names):
        return f"{said}; did you mean `{near[0]}`?"
    return f"{said}; it takes {', '.join(names)}" if names else f"{said}; it takes none"
