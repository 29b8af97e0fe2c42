"""Inputs on a command line: `MODALITY=FILE`, with an optional weight at the end."""

import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import click

from anyseek.api.predictions.wire import Input
from anyseek.search.json_types import descriptions
from anyseek.search.query.query import Part, Query

C = TypeVar("C", bound=Callable[..., Any])
P = TypeVar("P", Part, Input)

_NPY = b"\x93NUMPY"
_WEIGHT = re.compile(r"(?P<content>.+):(?P<weight>[+-]?(\d+\.?\d*|\.\d+))", re.DOTALL)


def finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """An option's callback. Raises `click.BadParameter` for infinity or NaN."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


def other_members(*names: str) -> tuple[str, ...]:
    """The names of all query members except these."""
    return tuple(member.name for member in fields(Query) if member.name not in names)


def member_options(names: Sequence[str]) -> Callable[[C], C]:
    """A decorator that adds an option for each of these query members, with the description in `Query` as its help."""
    help_texts, hints = descriptions(Query), get_type_hints(Query, include_extras=True)

    def decorate(command: C) -> C:
        for name in reversed(names):
            text = " ".join(help_texts[name].split()).rstrip(".")
            kind = _option_type(hints[name])
            command = click.option(f"--{name.replace('_', '-')}", help=f"{text[0].upper()}{text[1:]}.", **kind)(command)
        return command

    return decorate


def _option_type(hint: Any) -> dict[str, Any]:
    """The keyword arguments of `click.option` for a query member with this type hint."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] if get_origin(hint) in (Union, UnionType) else []
    kind = kinds[0] if kinds else hint
    bounds: Mapping[str, int] = {}
    if get_origin(kind) is Annotated:
        kind, bounds = kind.__metadata__[0].kind, kind.__metadata__[0].bounds
    if kind is bool:
        return {"is_flag": True}
    if get_origin(kind) is Literal:
        return {"type": click.Choice(get_args(kind))}
    if kind is int:
        return {"type": click.IntRange(bounds.get("ge"), bounds.get("le"))}
    if kind is float:
        return {"type": click.FloatRange(bounds.get("ge"), bounds.get("le")), "callback": finite}
    return {"type": str}


def split_weight(value: str) -> tuple[str, float]:
    """`cat.png:0.7` is `cat.png` with the weight 0.7; without a number at the end the weight is 1."""
    match = _WEIGHT.fullmatch(value)
    return (match["content"], float(match["weight"])) if match else (value, 1.0)


def read_input(value: str, text_weight: float | None = None) -> Input:
    """`MODALITY=FILE`, `MODALITY=FILE:0.7` or `caption=words`. Raises `click.UsageError`."""
    from anyseek.model.modalities.registry import Content

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


def with_forms(parts: Sequence[P], options: Sequence[str]) -> list[P]:
    """The parts or inputs with the forms of the options `MODALITY=FORM`. Raises `click.UsageError`."""
    forms = {}
    for value in options:
        name, equals, form = value.partition("=")
        if not equals or not form:
            raise click.UsageError(f"write a form as MODALITY=FORM, such as depth=near-bright, not as {value!r}")
        forms[known_modality(name).name] = form
    modalities = [known_modality(part.modality).name for part in parts if part.file and part.modality]
    missing = [name for name in forms if name not in modalities]
    if missing:
        raise click.UsageError(f"--form names {missing[0]}, but no file of that modality is given")
    return [_with_form(part, forms) for part in parts]


def with_classes(parts: Sequence[Part], file: Path | None) -> list[Part]:
    """The parts, with the class names of a JSON file on segmentations. Raises `click.UsageError`."""
    if file is None:
        return list(parts)
    try:
        names = json.loads(_read_bytes(file))
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{file} is not JSON: {error}") from error
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise click.UsageError(f'{file} does not name classes; write {{"1": "wall"}} or {{"#87ceeb": "sky"}}')
    if not any(part.modality == "semseg" for part in parts):
        raise click.UsageError("--classes names the classes of a segmentation, but the query has none")
    return [replace(part, classes=names) if part.modality == "semseg" else part for part in parts]


def with_region(parts: Sequence[P], box: tuple[float, ...] | None, mask: Path | None = None) -> list[P]:
    """The parts or inputs, with a box or mask on the pictures or, if there are none, on the items.

    Raises `click.UsageError`.
    """
    if box is None and mask is None:
        return list(parts)
    if box is not None and mask is not None:
        raise click.UsageError("give --box or --mask, not both")
    pictures = [part for part in parts if part.modality == "rgb" and part.file]
    regional = pictures or [part for part in parts if isinstance(part, Part) and part.item is not None]
    if not regional:
        raise click.UsageError(f"--{'mask' if mask else 'box'} selects a region; give a picture or an item, too")
    region: dict[str, Any] = {"box": box} if mask is None else {"mask": _read_bytes(mask)}
    return [replace(part, **region) if part in regional else part for part in parts]


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from error


def _with_form(part: P, forms: dict[str, str]) -> P:
    if not forms or part.file is None or part.modality is None:
        return part
    return replace(part, form=forms.get(known_modality(part.modality).name))


def read_vector(file: Path) -> list[float]:
    """The numbers of a vector in a file: an NPY array of one dimension or a JSON list. Raises `click.UsageError`."""
    data = _read_bytes(file)
    try:
        numbers = _npy(data) if data.startswith(_NPY) else json.loads(data)
    except (ValueError, RecursionError):
        numbers = None
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise click.UsageError(f"{file} is not a vector; use a JSON list of numbers or an NPY array of shape (n,)")
    return numbers


def _npy(data: bytes) -> Any:
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=False).tolist()


def known_modality(name: str) -> Any:
    """The modality of a name or alias. Raises `click.UsageError`."""
    from anyseek.model.modalities.registry import MODALITIES, resolve

    try:
        return resolve(name)
    except KeyError as error:
        raise click.UsageError(f"{name!r} is not a modality; the modalities are {', '.join(MODALITIES)}") from error


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False
