"""Reading mappings of a recipe into frozen dataclasses: a field's name is its key, its type says what it takes."""

import dataclasses
import math
import types
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from model.data.errors import RecipeInvalid

_Options = TypeVar("_Options")
_PLAIN: Mapping[type, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (int, float), Path: (str,)}
_WORDS: Mapping[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Path: "a path",
}


def read_options(kind: type[_Options], written: object, where: str) -> _Options:
    """`written`, a mapping from YAML, as the dataclass `kind`; `where` is its path, such as `sources[0]`.

    A `ValueError` from the dataclass itself counts too. Raises `RecipeInvalid`, naming the key: it is unknown, missing,
    or its value is of another type.
    """
    if not isinstance(written, Mapping):
        raise RecipeInvalid(f"{where or 'the recipe'} must map names to values, not be {written!r:.60}")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := [str(key) for key in written if key not in fields]:
        known = ", ".join(fields) or "none"
        raise RecipeInvalid(f"{key_path(where, unknown[0])} is not known; known keys here: {known}")
    for name, field in fields.items():
        if name not in written and field.default is field.default_factory is dataclasses.MISSING:
            raise RecipeInvalid(f"{key_path(where, name)} is missing")
    hints = get_type_hints(kind)
    values = {name: _read(hints[name], value, key_path(where, name)) for name, value in written.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise RecipeInvalid(f"{where or 'the recipe'}: {error}") from error


def key_path(where: str, key: str) -> str:
    """The path of `key` in the mapping at `where`."""
    return f"{where}.{key}" if where else key


def to_plain(value: Any) -> Any:
    """Options as JSON would have them, for digests."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _read(kind: Any, value: object, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        kinds = [one for one in arguments if one is not type(None)]
        return None if value is None and len(kinds) < len(arguments) else _read(kinds[0], value, where)
    if origin is tuple:
        return _read_list(arguments, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return read_options(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _read_choice(kind, value, where)
    if not isinstance(value, _PLAIN[kind]) or (isinstance(value, bool) and kind is not bool):
        raise RecipeInvalid(f"{where} must be {_WORDS[kind]}, not {value!r:.60}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeInvalid(f"{where} must be a finite number, not {value}")
    return kind(value)


def _read_list(kinds: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise RecipeInvalid(f"{where} must be a list, not {value!r:.60}")
    if kinds[-1] is not Ellipsis and len(value) != len(kinds):
        raise RecipeInvalid(f"{where} must be a list of {len(kinds)}, not of {len(value)}")
    each = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
    return tuple(_read(kind, one, f"{where}[{n}]") for n, (kind, one) in enumerate(zip(each, value, strict=True)))


def _read_choice(kind: type[StrEnum], value: object, where: str) -> StrEnum:
    if not isinstance(value, str) or value not in list(kind):
        raise RecipeInvalid(f"{where} must be one of {', '.join(kind)}, not {value!r:.60}")
    return kind(value)
