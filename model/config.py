"""Read YAML files into frozen pydantic models. Imports no torch.

A config's class derives from `Config`; its fields are the keys. What is wrong is refused with one sentence that gives
the path of the key, such as `optimiser.base_rate must be greater than or equal to 0, not -1`. Validators raise
ValueErrors that go on from the path of what they check: "must be a rising pair", or "size 8 must be a multiple of 3"
for one of its keys.
"""

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from anyseek.model.errors import ModelError

_MAX_VALUES = 100_000
_VERBS = ("must ", "has ", "is ", "cannot ")
_WORDS = {"missing": "is missing", "tuple_type": "must be a list", "list_type": "must be a list"}
_MAPPINGS = ("model_type", "dict_type", "model_attributes_type")


class Config(BaseModel):
    """A frozen section of a config file, which refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, written: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in written if isinstance(written, Mapping) else ():
            if key not in known:
                near = get_close_matches(str(key), known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
                raise ValueError(f"has no setting {str(key)!r}; {hint}")
        return written


_Config = TypeVar("_Config", bound=Config)


def _not_bool(written: Any) -> Any:
    if isinstance(written, bool):
        raise ValueError(f"must be a number, not {written}")
    return written


def _as_list(written: Any) -> Any:
    return written if isinstance(written, list | tuple) or written is None else [written]


Natural = Annotated[int, Field(ge=0), BeforeValidator(_not_bool)]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_not_bool)]
NotNegative = Annotated[float, Field(ge=0), BeforeValidator(_not_bool)]
AboveZero = Annotated[float, Field(gt=0), BeforeValidator(_not_bool)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_not_bool)]
Alone = BeforeValidator(_as_list)  # of a list whose only entry may stand alone: `rgb` is `[rgb]`
Texts = Annotated[tuple[str, ...], Alone]


class _Loader(yaml.SafeLoader):
    """YAML whose numbers are those of YAML 1.2: version 1.1 reads `1e-4` as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path, kind: type[_Config], error: type[ModelError]) -> _Config:
    """The config in a file. Raises `error`, naming the file, the key, what is wrong with it and what would be right."""
    try:
        written = yaml.load(path.read_bytes(), _Loader)
        if _size(written, {}) > _MAX_VALUES:
            raise error(f"the config {path} has more than {_MAX_VALUES:,} values where its aliases are written out")
    except OSError as cause:
        raise error(f"the config {path} cannot be read: {cause.strerror}") from cause
    except RecursionError as cause:
        raise error(f"the config {path} is nested too deeply") from cause
    except (yaml.YAMLError, ValueError) as cause:
        raise error(f"the config {path} is no YAML: {' '.join(str(cause).split())}") from cause
    try:
        return kind.model_validate(written)
    except ValidationError as cause:
        raise error(f"{path}: {sentence(cause)}") from cause


def _size(value: Any, sizes: dict[int, float]) -> float:
    """The number of values with all aliases expanded; infinite if one contains itself."""
    if not isinstance(value, list | dict):
        return 1
    if id(value) not in sizes:
        sizes[id(value)] = math.inf
        sizes[id(value)] = 1 + sum(_size(e, sizes) for e in (value.values() if isinstance(value, dict) else value))
    return sizes[id(value)]


def sentence(error: ValidationError, name: str | None = None) -> str:
    """The first validation error as a sentence that begins with `name`, by default the path of the value."""
    fault = error.errors(include_url=False)[0]
    path = name or "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).removeprefix(
        "."
    )
    said = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{path or 'the config'} {said}" if said.startswith(_VERBS) else f"{path}.{said}".removeprefix(".")
    said = "must map names to values" if fault["type"] in _MAPPINGS else re.sub("^[A-Z][a-z]+ should", "must", said)
    said = re.sub(", (unable|got) .*| after validation.*", "", _WORDS.get(fault["type"], said))
    seen = "" if fault["type"] == "missing" else f", not {reprlib.repr(fault['input'])}"
    return f"{path or 'the config'} {said}{seen}"


def partial_model(kind: type[Any], without: tuple[str, ...] = ()) -> type[Config]:
    """A config that may set any fields of a dataclass, but for some; see `written_values`."""
    members: dict[str, Any] = {field.name: (field.type, None) for field in fields(kind) if field.name not in without}
    return create_model(kind.__name__, __base__=Config, **members)


def written_values(model: type[Config], written: Any) -> dict[str, Any]:
    """The checked values of those fields that are written."""
    return model.model_validate(written).model_dump(exclude_unset=True)
