"""Read configs from YAML or the environment into frozen dataclasses, strictly. Imports no torch.

Each field's name is its key, and its type defines what it accepts: `str`, `bool`, `int`, `float`, `Path`, a `StrEnum`,
a tuple, a mapping with names as keys, another dataclass, or any of these or None. `Annotated` adds bounds and
spellings, such as `Positive` or `Bounds(0, 1)`. A number may be written as text, because YAML 1.1 reads `1e-4` as text.
An unknown, missing or out-of-range key is refused with one sentence that gives its path, such as `optimiser.base_rate`.

A dataclass may check its fields together in `__post_init__`, raising either `Refused` with the path relative to itself
or a plain `ValueError`. It may accept other spellings through a class method `shorthand(written)` that returns its
mapping.

Pydantic would do the same, but `model` imports only what networks need.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from anyseek.model.errors import ModelError

_Config = TypeVar("_Config")
TRUTHS = {"true": True, "false": False}  # spellings of a boolean in an environment, in lower case
_WHOLE = "the config"  # what the path of all of it is called in sentences


class Refused(ValueError):
    """A value cannot be taken. `path` names it and `sentence` goes on from there: "must be a number, not 'x'"."""

    def __init__(self, path: str, sentence: str) -> None:
        self.path, self.sentence = path, sentence
        super().__init__(f"{path or _WHOLE} {sentence}")

    def below(self, where: str) -> "Refused":
        """The same of a value whose path starts at `where`."""
        return Refused(_join(where, self.path), self.sentence)


@dataclass(frozen=True)
class Bounds:
    """A number of at least `least` and at most `most`; with `above` it must be more than `least`."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False

    def hold(self, number: float) -> bool:
        """Whether a number is finite and within the bounds."""
        fits = number > self.least if self.above else number >= self.least
        return fits and number <= self.most and math.isfinite(number)

    def __str__(self) -> str:
        if math.isinf(self.least):
            return "" if math.isinf(self.most) else f" of at most {self.most:g}"
        if math.isinf(self.most):
            return f" {'above' if self.above else 'of at least'} {self.least:g}"
        return f" from {self.least:g} to {self.most:g}"


@dataclass(frozen=True)
class Key:
    """The key of a field whose name cannot be the key."""

    name: str


@dataclass(frozen=True)
class NamedBy:
    """A tuple of dataclasses that is written as a mapping; each takes its name in the mapping as the field `field`."""

    field: str


@dataclass(frozen=True)
class ReadBy:
    """A field that `read` makes of what is written and its path, in place of the rules for its type."""

    read: Callable[[object, str], Any]


class Alone:
    """A list of which a single entry may stand alone: `rgb` is `[rgb]`."""


Natural = Annotated[int, Bounds(0)]
Positive = Annotated[int, Bounds(1)]
NotNegative = Annotated[float, Bounds(0)]
AboveZero = Annotated[float, Bounds(0, above=True)]
Share = Annotated[float, Bounds(0, 1)]
Texts = Annotated[tuple[str, ...], Alone()]


def read_file(kind: type[_Config], path: Path, error: type[ModelError]) -> _Config:
    """The dataclass `kind` from a YAML file. Raises `error`, naming the file and the key."""
    import yaml  # only here: a client reads its settings from the environment and starts without it

    try:
        return read(kind, yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as cause:
        raise error(f"the config {path} cannot be read: {cause.strerror}") from cause
    except (yaml.YAMLError, UnicodeDecodeError) as cause:
        raise error(f"the config {path} is no YAML: {' '.join(str(cause).split())}") from cause
    except Refused as cause:
        raise error(f"{path}: {cause}") from cause


def read(kind: type[_Config], written: object, where: str = "", others: Collection[str] = ()) -> _Config:
    """Read a mapping as the dataclass `kind`; `where` is its path. Raises `Refused`.

    `others` are keys of the same mapping that other code reads; error messages list them among the known keys.
    """
    values = read_values(kind, written, where, others)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise Refused(_join(where, _key_of(kind, field.name)), "is missing")
    try:
        return kind(**values)
    except Refused as error:
        raise error.below(where) from error
    except ValueError as error:
        raise Refused(where, f"cannot be: {error}") from error


def read_values(
    kind: type[Any], written: object, where: str = "", others: Collection[str] = (), without: Collection[str] = ()
) -> dict[str, Any]:
    """Read the values of `kind` that are written, by field name, except those in `without`. Raises `Refused`."""
    if hasattr(kind, "shorthand"):
        try:
            written = kind.shorthand(written)
        except Refused as error:
            raise error.below(where) from error
    if not isinstance(written, Mapping):
        raise Refused(where, f"must map names to values; it is {written!r:.60}")
    names = {_key_of(kind, field.name): field.name for field in dataclasses.fields(kind) if field.name not in without}
    if unknown := [str(key) for key in written if key not in names]:
        raise Refused(where, _unknown(unknown[0], [*names, *others]))
    hints = get_type_hints(kind, include_extras=True)
    return {names[key]: _read(hints[names[key]], value, _join(where, key)) for key, value in written.items()}


def _unknown(key: str, known: Sequence[str]) -> str:
    near = get_close_matches(key, known, 1)
    return f"has no setting {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}")


def _key_of(kind: type[Any], name: str) -> str:
    """The key under which a field is written."""
    hint = get_type_hints(kind, include_extras=True)[name]
    return next((mark.name for mark in _marks(hint) if isinstance(mark, Key)), name)


def _marks(hint: Any) -> tuple[Any, ...]:
    return hint.__metadata__ if get_origin(hint) is Annotated else ()


def _read(hint: Any, value: object, where: str, marks: tuple[Any, ...] = ()) -> Any:
    """One value by its type and the marks beside it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _read(arguments[0], value, where, (*marks, *hint.__metadata__))
    for mark in marks:
        if isinstance(mark, ReadBy):
            return mark.read(value, where)
    if origin in (Union, types.UnionType):
        kinds = [argument for argument in arguments if argument is not types.NoneType]
        return None if value is None and len(kinds) < len(arguments) else _read(kinds[0], value, where, marks)
    if origin is tuple:
        return _read_tuple(arguments, value, where, marks)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _read_mapping(arguments[1], value, where)
    return _read_plain(hint, value, where, marks)


def _read_plain(kind: Any, value: object, where: str, marks: tuple[Any, ...]) -> Any:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return read(kind, value, where)
    if issubclass(kind, StrEnum):
        if not isinstance(value, str) or value not in list(kind):
            _refuse(where, f"one of {', '.join(kind)}", value)
        return kind(value)
    if kind is bool:
        return value if isinstance(value, bool) else _refuse(where, "true or false", value)
    if kind in (int, float):
        return _read_number(kind, value, where, marks)
    if not isinstance(value, str) or (kind is Path and not value):
        _refuse(where, "a path" if kind is Path else "a text", value)
    return kind(value)


def _read_number(kind: type[int] | type[float], value: object, where: str, marks: tuple[Any, ...]) -> float:
    bounds = next((mark for mark in marks if isinstance(mark, Bounds)), Bounds())
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not bounds.hold(number) or (kind is int and not number.is_integer()):
        _refuse(where, f"{'a whole number' if kind is int else 'a number'}{bounds}", value)
    return int(value) if kind is int and isinstance(value, int) else kind(number)


def _read_tuple(kinds: tuple[Any, ...], value: object, where: str, marks: tuple[Any, ...]) -> tuple[Any, ...]:
    for mark in marks:
        if isinstance(mark, NamedBy):
            return _read_named(kinds[0], mark.field, value, where)
    if any(isinstance(mark, Alone) for mark in marks) and not isinstance(value, list | tuple):
        return (_read(kinds[0], value, where),)
    if not isinstance(value, list | tuple):
        _refuse(where, "a list", value)
    each = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
    if len(each) != len(value):
        _refuse(where, f"a list of {len(each)}", value)
    return tuple(
        _read(kind, entry, f"{where}[{place}]") for place, (kind, entry) in enumerate(zip(each, value, strict=True))
    )


def _read_named(kind: Any, field: str, value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, Mapping) or not value:
        _refuse(where, "a mapping with at least one name", value)
    found = []
    for name, entry in value.items():
        below = _join(where, str(name))
        if isinstance(entry, Mapping) and field in entry:
            raise Refused(below, f"has no setting {field!r}; its name says it")
        found.append(read(kind, {**entry, field: str(name)} if isinstance(entry, Mapping) else entry, below))
    return tuple(found)


def _read_mapping(kind: Any, value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        _refuse(where, "a mapping of names to values", value)
    return {str(name): _read(kind, entry, _join(where, str(name))) for name, entry in value.items()}


def _join(where: str, key: str) -> str:
    """The path of a key below `where`."""
    return f"{where}.{key}" if where and key else where or str(key)


def _refuse(where: str, wanted: str, value: object) -> NoReturn:
    raise Refused(where, f"must be {wanted}, not {value!r:.60}")
