"""What is given on a command line: `MODALITY=FILE`, and weights at the end of things."""

import re
from pathlib import Path
from typing import Any

import click

from api.prediction_wire import Input

_WEIGHT = re.compile(r"(?P<content>.+):(?P<weight>[+-]?(\d+\.?\d*|\.\d+))", re.DOTALL)


def split_weight(value: str) -> tuple[str, float]:
    """`cat.png:0.7` is `cat.png` with the weight 0.7; without a number at the end the weight is 1."""
    found = _WEIGHT.fullmatch(value)
    return (found["content"], float(found["weight"])) if found else (value, 1.0)


def read_input(value: str, text_weight: float | None = None) -> Input:
    """`MODALITY=FILE`, `MODALITY=FILE:0.7` or `caption=words`. Raises `click.UsageError`."""
    from model.modality import Content

    name, equals, content = value.partition("=")
    if not equals or not content:
        raise click.UsageError(f"an input is written MODALITY=FILE, as in rgb=photo.jpg, not {value!r}")
    kind = known_modality(name)
    weight = text_weight if kind.content is Content.TEXT else None
    if _is_file(content):
        return Input(kind.name, file=Path(content), weight=weight)
    if kind.content is Content.TEXT:
        return Input(kind.name, text=content, weight=weight)
    plain, number = split_weight(content)
    weight = None if plain == content else number
    if not _is_file(plain) and (kind.content is Content.PALETTE or plain.lstrip()[:1] in ("[", "{")):
        return Input(kind.name, text=plain, weight=weight)
    return Input(kind.name, file=Path(plain), weight=weight)


def known_modality(name: str) -> Any:
    """The modality of a name or alias. Raises `click.UsageError`."""
    from model.modality import MODALITIES, resolve

    try:
        return resolve(name)
    except KeyError as error:
        raise click.UsageError(f"{name!r} is not a modality; known ones are {', '.join(MODALITIES)}") from error


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False
