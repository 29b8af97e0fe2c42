"""Parses the text form of a filter: `width >= 1000 and label in (cat, dog) and not camera.make starts with "Ni"`.

    filter     = all {"or" all}            all = one {"and" one}
    one        = "not" one | "(" filter ")" | condition
    condition  = field ("=" | "!=" | "<" | "<=" | ">" | ">=") value
               | field ["not"] "in" "(" value {"," value} ")"
               | field "starts" "with" value
               | field "within" "(" south "," west "," north "," east ")"
               | field "within" number unit "of" ("(" lat "," lon ")" | lat "," lon)
               | field "exists"
    field      = word | `any text`         such as width, camera.make, @key, @caption
    unit       = "km" | "m" | "mi", which may follow its number at once: 10km
    value      = number | true | false | 2024-05-01 | 2024-05-01T12:00:00Z | word | "text" | 'text'

Keywords may be in any case. In a quoted text, a backslash makes the next character literal. Double negations cancel,
in the JSON form, too.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anyseek.search.filters import tree
from anyseek.search.filters.tree import DEEPEST, BadFilter, Filter, Operator

MAX_LENGTH = 20_000

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<field>`[^`]+`)
    | (?P<sign><=|>=|!=|=|<|>|\(|\)|,)
    | (?P<word>[^\s"'`<>=!(),]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_KILOMETRES = {"km": 1.0, "m": 0.001, "mi": 1.609344}
_DISTANCE = re.compile(r"(\d+\.?\d*|\.\d+)(km|mi|m)?", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_OPERATORS = {
    "=": Operator.EQUAL,
    "<": Operator.LESS,
    "<=": Operator.AT_MOST,
    ">": Operator.GREATER,
    ">=": Operator.AT_LEAST,
}
_RESERVED = frozenset({"and", "or", "not", "in", "starts", "with", "within", "exists"})


def filter_from_text(text: str) -> Filter:
    """Parse a filter. Raises `BadFilter`, which says where the error is."""
    if len(text) > MAX_LENGTH:
        raise BadFilter(f"the filter has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed")
    parser = _Parser(_tokenize(text))
    where = parser.filter(0)
    parser.end()
    return where


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int  # of the first character, from 1


def _tokenize(text: str) -> list[_Token]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise BadFilter(
                f"the filter cannot be understood from character {start + 1} on: {text[start : start + 20]!r}"
            )
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1))
        position = match.end()
    return tokens


class _Parser:
    """Recursive-descent parser over the tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._next = tokens, 0

    def filter(self, depth: int) -> Filter:
        if depth > DEEPEST:
            raise BadFilter(f"the filter is nested more than {DEEPEST} deep")
        parts = [self._conjunction(depth)]
        while self._take("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else tree.Or(tuple(parts))

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._unexpected("'and', 'or' or the end")

    def _conjunction(self, depth: int) -> Filter:
        parts = [self._unary(depth)]
        while self._take("and"):
            parts.append(self._unary(depth))
        return parts[0] if len(parts) == 1 else tree.And(tuple(parts))

    def _unary(self, depth: int) -> Filter:
        if depth > DEEPEST:
            raise BadFilter(f"the filter is nested more than {DEEPEST} deep")
        if self._take("not"):
            return tree.negated(self._unary(depth + 1))
        if self._take("("):
            inner = self.filter(depth + 1)
            self._expect(")")
            return inner
        return self._condition()

    def _condition(self) -> Filter:
        field = self._field()
        if self._take("!="):
            return tree.Not(tree.Compare(field, Operator.EQUAL, self._value(field)))
        for sign, operator in _OPERATORS.items():
            if self._take(sign):
                return tree.Compare(field, operator, self._value(field))
        if self._take("exists"):
            return tree.Exists(field)
        if self._take("in"):
            return tree.AnyOf(field, self._values(field))
        if self._take("not"):
            self._expect("in")
            return tree.Not(tree.AnyOf(field, self._values(field)))
        if self._take("starts"):
            self._expect("with")
            return tree.StartsWith(field, self._text(field))
        if self._take("within"):
            return self._area(field)
        raise self._unexpected(f"a condition on {field!r}: =, !=, <, <=, >, >=, in, starts with, within or exists")

    def _field(self) -> str:
        token = self._peek()
        if token is not None and token.kind == "field":
            self._next += 1
            return token.text[1:-1]
        if token is None or token.kind != "word" or token.text.lower() in _RESERVED:
            raise self._unexpected("the name of an attribute")
        self._next += 1
        return token.text

    def _values(self, field: str) -> tuple[tree.Scalar, ...]:
        self._expect("(")
        values = [self._value(field)]
        while self._take(","):
            values.append(self._value(field))
        self._expect(")")
        return tuple(values)

    def _value(self, field: str) -> tree.Scalar:
        token = self._peek()
        if token is None or token.kind not in ("word", "quoted"):
            raise self._unexpected(f"a value for {field!r}")
        self._next += 1
        if token.kind == "quoted":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
        return _parse_word(token.text)

    def _text(self, field: str) -> str:
        token = self._peek()
        value = self._value(field)
        return value if isinstance(value, str) else token.text if token is not None else ""

    def _area(self, field: str) -> tree.InBox | tree.InRadius:
        token = self._peek()
        if token is None or token.text == "(":
            sides = self._values(field)
            numbers = [side for side in sides if isinstance(side, float)]
            if len(numbers) != 4 or len(sides) != 4:
                raise BadFilter(f"{field!r} within takes four numbers: (south, west, north, east)")
            return tree.InBox(field, *numbers)
        km = self._distance(field)
        self._expect("of")
        lat, lon = self._point(field)
        return tree.InRadius(field, lat, lon, km)

    def _distance(self, field: str) -> float:
        """A distance in kilometres, converted from the unit in the text."""
        token = self._peek()
        match = _DISTANCE.fullmatch(token.text) if token is not None and token.kind == "word" else None
        if match is None:
            raise self._unexpected(f"a distance for {field!r}, such as 10 km, or (south, west, north, east)")
        self._next += 1
        if match[2]:
            return float(match[1]) * _KILOMETRES[match[2].lower()]
        for unit, kilometres in _KILOMETRES.items():
            if self._take(unit):
                return float(match[1]) * kilometres
        raise self._unexpected("the unit of the distance: km, m or mi")

    def _point(self, field: str) -> tuple[float, float]:
        """A latitude and a longitude, optionally in parentheses."""
        in_parentheses = self._take("(")
        lat = self._degrees(field)
        self._expect(",")
        lon = self._degrees(field)
        if in_parentheses:
            self._expect(")")
        return lat, lon

    def _degrees(self, field: str) -> float:
        value = self._value(field)
        if isinstance(value, float):
            return value
        hint = f"; for a name ask {field}.town = Rome" if isinstance(value, str) else ""
        raise BadFilter(
            f"{field!r} within a distance takes a latitude and a longitude: within 10 km of 41.9, 12.5{hint}"
        )

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, text: str) -> bool:
        token = self._peek()
        is_next = token is not None and token.kind in ("word", "sign") and token.text.lower() == text
        self._next += is_next
        return is_next

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected(repr(text))

    def _unexpected(self, expected: str) -> BadFilter:
        token = self._peek()
        if token is None:
            return BadFilter(f"the filter ends where {expected} was expected")
        return BadFilter(
            f"the filter has {token.text[:40]!r} at character {token.position}, where {expected} was expected"
        )


def _parse_word(word: str) -> tree.Scalar:
    """Return the value of an unquoted word: a truth value, a number or a moment if it parses as one, else a text."""
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if _NUMBER.fullmatch(word):
        number = float(word)
        if number in (float("inf"), float("-inf")):
            raise BadFilter(f"the number {word[:20]} in the filter is too large")
        return number
    moment = tree.Moment.parse(word) if re.match(r"\d{4}-\d\d", word, re.ASCII) else None
    return word if moment is None else moment


_SIDES = ("south", "west", "north", "east")
_RADIUS = ("lat", "lon", "km")
_JSON_OPERATORS = {operator.value: operator for operator in Operator}


def filter_from_json(members: Any) -> Filter:
    """Build a filter from parsed JSON. Raises `BadFilter`."""
    return _parse_json(members, 0)


def filter_of(where: Any) -> Filter | None:
    """Parse a filter given as text or as parsed JSON. Raises `BadFilter`."""
    if where is None:
        return None
    return filter_from_text(where) if isinstance(where, str) else filter_from_json(where)


def _parse_json(members: Any, depth: int) -> Filter:
    if depth > DEEPEST:
        raise BadFilter(f"the filter is nested more than {DEEPEST} deep")
    if not isinstance(members, Mapping) or not members:
        raise BadFilter(f'a filter must be an object such as {{"field": "width", "gte": 1000}}, not {_quote(members)}')
    if "field" in members:
        return _parse_json_object(members)
    if len(members) > 1 or not members.keys() <= {"and", "or", "not"}:
        raise BadFilter(
            f"a filter needs field, or one of and, or, not; this one has {', '.join(map(str, members))[:80]}"
        )
    (word, inner) = next(iter(members.items()))
    if word == "not":
        return tree.negated(_parse_json(inner, depth + 1))
    if not isinstance(inner, list) or not inner:
        raise BadFilter(f"{word!r} in a filter takes a list of at least one filter, not {_quote(inner)}")
    parts = tuple(_parse_json(part, depth + 1) for part in inner)
    return tree.And(parts) if word == "and" else tree.Or(parts)


def _parse_json_object(members: Mapping[str, Any]) -> Filter:
    field = members["field"]
    if not isinstance(field, str) or not field:
        raise BadFilter(f"the field of a filter must be the name of an attribute, not {_quote(field)}")
    parts = [_parse_json_condition(field, word, value) for word, value in members.items() if word != "field"]
    if not parts:
        raise BadFilter(f"the filter on {field!r} has no condition, such as eq, in, gte, prefix, box, radius or exists")
    return parts[0] if len(parts) == 1 else tree.And(tuple(parts))


def _parse_json_condition(field: str, word: str, value: Any) -> Filter:
    if word in _JSON_OPERATORS:
        return tree.Compare(field, _JSON_OPERATORS[word], _scalar(field, value))
    match word, value:
        case "in", list() if value:
            return tree.AnyOf(field, tuple(_scalar(field, choice) for choice in value))
        case "prefix", str():
            return tree.StartsWith(field, value)
        case "exists", bool():
            return tree.Exists(field) if value else tree.Not(tree.Exists(field))
        case "box", Mapping() if value.keys() == set(_SIDES):
            return tree.InBox(field, *(_number(field, value[side]) for side in _SIDES))
        case "radius", Mapping() if value.keys() == set(_RADIUS):
            return tree.InRadius(field, *(_number(field, value[name]) for name in _RADIUS))
    known = ", ".join([*_JSON_OPERATORS, "in (a list)", "prefix (a text)", "exists (true or false)", "box", "radius"])
    raise BadFilter(f"the filter on {field!r} has {word!r}: {_quote(value)}; conditions are {known}")


def _scalar(field: str, value: Any) -> tree.Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return _number(field, value)
    if isinstance(value, Mapping) and value.keys() == {"time"} and isinstance(value["time"], str):
        moment = tree.Moment.parse(value["time"])
        if moment is not None:
            return moment
    raise BadFilter(
        f"{field!r} is compared with {_quote(value)}; compare it with a text, a number, true, false "
        'or {"time": "2024-05-01T12:00:00Z"}'
    )


def _number(field: str, value: Any) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadFilter(f"{field!r} is compared with {_quote(value)}, which is not a finite number")
    return number


def _quote(value: Any) -> str:
    return repr(value)[:60]
