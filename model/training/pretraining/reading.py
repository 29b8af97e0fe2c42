"""Reading a config strictly: every key is taken once with the type it must have, and what is left is refused.

Every refusal is `TrainingConfigInvalid` and names the key by its path, such as `optimiser.base_rate`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from model.training.pretraining.errors import TrainingConfigInvalid

_REQUIRED: Any = object()
_Choice = TypeVar("_Choice", bound=StrEnum)


class Section:
    """One mapping of a config. `close` refuses the keys that nobody took."""

    def __init__(self, path: str, values: object) -> None:
        self.path = path
        if not isinstance(values, Mapping):
            raise TrainingConfigInvalid(f"{path or 'the config'} must map names to values, not be {values!r:.60}")
        self._left = {str(key): value for key, value in values.items()}

    def has(self, key: str) -> bool:
        """Whether the key is there and was not taken yet."""
        return key in self._left

    def take(self, key: str, default: Any = _REQUIRED) -> Any:
        """The value of a key as it stands."""
        if key not in self._left and default is _REQUIRED:
            raise TrainingConfigInvalid(f"{self.name(key)} is missing")
        return self._left.pop(key, default)

    def number(self, key: str, default: Any = _REQUIRED, *, least: float = 0.0, most: float = math.inf) -> float:
        """A number in [least, most]. YAML reads `1e-4` as text; it is a number here."""
        return self._number(key, self.take(key, default), least, most)

    def whole(self, key: str, default: Any = _REQUIRED, *, least: int = 0, most: float = math.inf) -> int:
        """A whole number in [least, most]; `1e9` is one."""
        return self._whole(key, self.take(key, default), least, most)

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """A text that is not empty."""
        value = self.take(key, default)
        if not isinstance(value, str) or not value:
            self._refuse(key, "a text", value)
        return value

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        """True or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            self._refuse(key, "true or false", value)
        return bool(value)

    def choice(self, key: str, kind: type[_Choice], default: Any = _REQUIRED) -> _Choice:
        """One of the values of an enumeration."""
        value = self.take(key, default)
        if value not in list(kind):
            self._refuse(key, f"one of {', '.join(kind)}", value)
        return kind(value)

    def numbers(self, key: str, default: Any = _REQUIRED, *, least: float = 0.0) -> tuple[float, ...]:
        """A list of numbers of at least `least`; a number alone is a list of one."""
        return tuple(self._number(key, value, least, math.inf) for value in _listed(self.take(key, default)))

    def whole_numbers(self, key: str, default: Any = _REQUIRED, *, least: int = 0) -> tuple[int, ...]:
        """A list of whole numbers of at least `least`; a number alone is a list of one."""
        return tuple(self._whole(key, value, least, math.inf) for value in _listed(self.take(key, default)))

    def texts(self, key: str, default: Any = _REQUIRED) -> tuple[str, ...]:
        """A list of texts; a text alone is a list of one."""
        values = _listed(self.take(key, default))
        if wrong := [value for value in values if not isinstance(value, str)]:
            self._refuse(key, "a list of texts", wrong[0])
        return tuple(values)

    def section(self, key: str, default: Any = _REQUIRED) -> "Section":
        """The mapping below a key."""
        return Section(self.name(key), self.take(key, default))

    def sections(self, key: str, default: Any = _REQUIRED) -> "list[Section]":
        """A list of mappings below a key."""
        values = self.take(key, default)
        if not isinstance(values, Sequence) or isinstance(values, str):
            self._refuse(key, "a list", values)
        return [Section(f"{self.name(key)}[{place}]", value) for place, value in enumerate(values)]

    def named_sections(self, key: str) -> "Iterator[tuple[str, Section]]":
        """The mappings below a key, each by its own name."""
        values = self.take(key)
        if not isinstance(values, Mapping) or not values:
            self._refuse(key, "a mapping with at least one name", values)
        for name, value in values.items():
            yield str(name), Section(f"{self.name(key)}.{name}", value)

    def names(self) -> tuple[str, ...]:
        """The keys that nobody took yet."""
        return tuple(self._left)

    def rest(self) -> dict[str, Any]:
        """All that nobody took; the section is empty afterwards."""
        left, self._left = self._left, {}
        return left

    def close(self) -> None:
        """Refuse what is left."""
        if self._left:
            where = f"in {self.path}" if self.path else "in the config"
            raise TrainingConfigInvalid(f"there is no setting {min(self._left)!r} {where}")

    def name(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def _number(self, key: str, value: object, least: float, most: float) -> float:
        number = _parsed(value)
        if not (least <= number <= most and math.isfinite(number)):
            self._refuse(key, f"a number {_interval(least, most)}", value)
        return number

    def _whole(self, key: str, value: object, least: int, most: float) -> int:
        number = _parsed(value)
        if not (least <= number <= most and number.is_integer()):
            self._refuse(key, f"a whole number {_interval(least, most)}", value)
        return int(number)

    def _refuse(self, key: str, wanted: str, value: object) -> NoReturn:
        raise TrainingConfigInvalid(f"{self.name(key)} must be {wanted}, not {value!r:.60}")


def _parsed(value: object) -> float:
    """A number, also one that YAML 1.1 leaves as text; NaN for what is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _interval(least: float, most: float) -> str:
    return f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
