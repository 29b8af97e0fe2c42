"""Filters: written ones made by the grammar and then damaged, and trees of JSON, wherever a filter may stand."""

import json
from random import Random
from typing import Any

from tests.fuzz import values
from tests.fuzz.sent import JSON, Sent

_FIELDS = (
    "n",
    "label",
    "taken",
    "place",
    "camera.make",
    "@key",
    "@caption",
    "`a b`",
    "missing",
    "flags",
    "nested.list",
    "@other",
)
_VALUES = ("1", "-1.5", "1e400", "true", "cat", '"a b"', "'it\\'s'", "2024-05-01", "2024-05-01T12:00:00Z", "9999-12-31",
           "0000-01-01", "9" * 30, "'\\''", '"' + "x" * 600 + '"', "1e308", "-0")  # fmt: skip
_MAX_LENGTH = 5_000  # in an address; httpx builds none above 64 KiB
_JSON_WORDS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "prefix", "box", "radius", "exists", "starts_with", "within")
_BOX = {"south": 40.0, "west": 12.0, "north": 42.0, "east": 13.0}
_RADIUS = {"lat": 41.9, "lon": 12.5, "km": 10.0}


def written(random: Random, depth: int = 0) -> str:
    """A filter as a person writes it."""
    how = random.random()
    if depth > 4 or how < 0.55:
        return _condition(random)
    if how < 0.75:
        return f" {random.choice(('and', 'or', 'AND'))} ".join(
            written(random, depth + 1) for _ in range(random.choice((2, 3, 9)))
        )
    if how < 0.85:
        return "not " * random.choice((1, 2, 40)) + written(random, depth + 1)
    around = random.choice((1, 2, 40, 2_000))
    return "(" * around + written(random, depth + 1) + ")" * around


def _condition(random: Random) -> str:
    field = random.choice(_FIELDS) if random.random() < 0.9 else values.text(random)
    some = [random.choice(_VALUES) for _ in range(4)]
    return random.choice(
        (
            f"{field} {random.choice(('=', '!=', '<', '<=', '>', '>='))} {some[0]}",
            f"{field} in ({', '.join(some[: random.randrange(5)])})",
            f"{field} not in ({', '.join(some * random.choice((1, 60)))})",
            f"{field} starts with {some[0]}",
            f"{field} within ({', '.join(some)})",
            f"{field} within {some[0]}{random.choice(('km', ' mi', 'm', ''))} of {some[1]}, {some[2]}",
            f"{field} within 10 km of (41.9, {random.choice(('12.5', '179.99999', '-180', '1e9'))})",
            f"{field} exists",
        )
    )


def tree(random: Random, depth: int = 0) -> Any:
    """A filter as JSON."""
    how = random.random()
    if depth > 4 or how < 0.6:
        return _json_condition(random)
    if how < 0.8:
        return {random.choice(("and", "or")): [tree(random, depth + 1) for _ in range(random.choice((0, 1, 2, 3)))]}
    if how < 0.92:
        return {"not": tree(random, depth + 1)}
    return values.replaced(random, {"and": [tree(random, depth + 1)], "not": tree(random, depth + 1)})


def _json_condition(random: Random) -> Any:
    field = random.choice(_FIELDS).strip("`") if random.random() < 0.9 else values.value(random)
    word = random.choice(_JSON_WORDS)
    fitting: dict[str, Any] = {"box": _BOX, "radius": _RADIUS, "in": ["cat", 1, True], "exists": True}
    wanted = fitting.get(word, random.choice((1, "cat", True, "2024-05-01", 1e300)))
    return {"field": field, word: values.replaced(random, wanted) if random.random() < 0.4 else wanted}


def make(random: Random) -> Sent:
    """A query, a listing or facets with a filter."""
    text = written(random)
    if random.random() < 0.3:
        text = values.damaged(random, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    where = values.quoted(text[:_MAX_LENGTH])
    query = {"parts": [{"text": "a"}], "where": random.choice((text, tree(random), tree(random)))}
    body = values.as_json(query)
    return random.choice(
        (
            Sent("GET", f"/v1/collections/a/items?where={where}"),
            Sent("GET", f"/v1/collections/a/items?sort=newest&where={where}"),
            Sent("GET", f"/v1/collections/a/facets?where={where}"),
            Sent("GET", f"/v1/collections/a/query?text=a&where={where}"),
            Sent("POST", "/v1/collections/a/query", body, JSON),
            Sent("POST", "/v1/collections/a/query", body, JSON),
            Sent("POST", "/v1/collections/a/query/batch", json.dumps({"queries": [query] * 3}).encode(), JSON),
        )
    )
