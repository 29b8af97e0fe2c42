"""Inputs on a command line: `MODALITY=FILE`, with an optional weight at the end."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import click

from api.predictions.wire import Input

_NPY = b"\x93NUMPY"
_WEIGHT = re.compile(r"(?P<content>.+):(?P<weight>[+-]?(\d+\.?\d*|\.\d+))", re.DOTALL)


def finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """An option's callback. Raises `click.BadParameter` for infinity or NaN."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


def split_weight(value: str) -> tuple[str, float]:
    """`cat.png:0.7` is `cat.png` with the weight 0.7; without a number at the end the weight is 1."""
    found = _WEIGHT.fullmatch(value)
    return (found["content"], float(found["weight"])) if found else (value, 1.0)


def read_input(value: str, text_weight: float | None = None) -> Input:
    """`MODALITY=FILE`, `MODALITY=FILE:0.7` or `caption=words`. Raises `click.UsageError`."""
    from model.modalities.registry import Content

    name, equals, content = value.partition("=")
    if not equals or not content:
        raise click.UsageError(f"write an input as MODALITY=FILE, such as rgb=photo.jpg, not as {value!r}")
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


def read_vector(file: Path) -> list[float]:
    """The numbers of a vector in a file: an NPY array of one dimension or a JSON list. Raises `click.UsageError`."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from error
    try:
        numbers = _npy(data) if data.startswith(_NPY) else json.loads(data)
    except (ValueError, RecursionError):
        numbers = None
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise click.UsageError(f"{file} is not a vector; it holds a JSON list of numbers or an NPY array (n,)")
    return numbers


def _npy(data: bytes) -> Any:
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=False).tolist()


def known_modality(name: str) -> Any:
    """The modality of a name or alias. Raises `click.UsageError`."""
    from model.modalities.registry import MODALITIES, resolve

    try:
        return resolve(name)
    except KeyError as error:
        raise click.UsageError(f"{name!r} is not a modality; the modalities are {', '.join(MODALITIES)}") from error


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False
