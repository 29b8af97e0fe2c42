"""Translates attributes to Qdrant payloads and filters to conditions on them, with the semantics of the catalogue.

facets   a list of objects, one for each value: its `path`, and `number`, `text`, `truth` or `moment`; a text also has
         its characters as numbers, two by two, in `order0`, `order1`, …, since Qdrant orders numbers only, and in
         `starts` a number for each of its beginnings of 2, 4, … characters
points   a list of objects, one for each place: its `path`, and `at`, the point with its `lat` and `lon`
paths    every path that has something at or below it
tenant   whose point it is (`anyseek.search.spaces.qdrant.backend`)
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from qdrant_client import models

from anyseek.search.filters import tree
from anyseek.search.filters.facets import Facet, facets_of
from anyseek.search.filters.places import places_of
from anyseek.search.filters.tree import Filter, Operator
from anyseek.search.types import Item

# Bits of a code point. Two code points fit into the 53 bits of a float, with which Qdrant compares.
_BITS = 21
_BELOW = (Operator.LESS, Operator.AT_MOST)
_INCLUSIVE = (Operator.AT_MOST, Operator.AT_LEAST)

# What Qdrant keeps an index of, for the fields below.
INDEXED: Mapping[str, models.PayloadSchemaType | models.KeywordIndexParams] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "paths": models.PayloadSchemaType.KEYWORD,
    "facets[].path": models.PayloadSchemaType.KEYWORD,
    "facets[].text": models.PayloadSchemaType.KEYWORD,
    "facets[].truth": models.PayloadSchemaType.BOOL,
    "facets[].number": models.PayloadSchemaType.FLOAT,
    "facets[].moment": models.PayloadSchemaType.FLOAT,
    "facets[].order0": models.PayloadSchemaType.INTEGER,
    "facets[].starts": models.PayloadSchemaType.INTEGER,
    "points[].path": models.PayloadSchemaType.KEYWORD,
    "points[].at": models.PayloadSchemaType.GEO,
}


def payload_of(item: Item) -> dict[str, Any]:
    """The filterable attributes of an item. Attributes that begin with @, which no filter can name, are left out."""
    texts = [(tree.KEY, item.key)] + ([] if item.caption is None else [(tree.CAPTION, item.caption)])
    facets = [facet for facet in facets_of(item.attributes) if not facet.path.startswith("@")]
    facets += [Facet(path, text=text[: tree.MAX_TEXT_LENGTH + 1]) for path, text in texts]
    paths = {facet.path[:end] for facet in facets for end in _path_ends(facet.path)}
    payload = {"facets": [_facet_object(facet) for facet in facets], "paths": sorted(paths)}
    points = [{"path": place.path, "at": {"lat": place.lat, "lon": place.lon}} for place in places_of(item.attributes)]
    return payload | {"points": points} if points else payload


def as_condition(where: Filter) -> models.Filter:
    """The condition on payloads that is equivalent to a `checked` filter."""
    match where:
        case tree.And(parts):
            return models.Filter(must=[as_condition(part) for part in parts])
        case tree.Or(parts):
            return models.Filter(should=[as_condition(part) for part in parts])
        case tree.Not(part):
            return models.Filter(must_not=[as_condition(part)])
        case tree.Compare(field, operator, value):
            return _any_facet(field, _comparison(operator, value))
        case tree.AnyOf(field, values):
            return models.Filter(should=[_any_facet(field, _comparison(Operator.EQUAL, value)) for value in values])
        case tree.StartsWith(field, prefix):
            return _any_facet(field, _has_prefix(prefix))
        case tree.Exists(field):
            return _must(models.FieldCondition(key="paths", match=models.MatchValue(value=field)))
        case tree.InBox():
            return _in_box(where)
        case tree.InRadius(field, lat, lon, km):
            centre = models.GeoPoint(lat=lat, lon=lon)
            circle = models.FieldCondition(key="at", geo_radius=models.GeoRadius(center=centre, radius=km * 1000))
            return _nested("points", field, _must(circle))


def _path_ends(path: str) -> list[int]:
    return [place for place, character in enumerate(path) if character == "."] + [len(path)]


def _facet_object(facet: Facet) -> dict[str, Any]:
    fields = {name: value for name, value in facet._asdict().items() if value is not None}
    if facet.text is not None:
        fields |= {f"order{level}": number for level, number in enumerate(_order_keys(facet.text))}
        fields["starts"] = [_prefix_hash(facet.text[:end]) for end in range(2, len(facet.text) + 1, 2)]
    return fields


def _order_keys(text: str) -> list[int]:
    """Sort keys of a text, two characters each and padded with 0, so that a text sorts before its continuations."""
    points = [*map(ord, text), 0, 0][: len(text) // 2 * 2 + 2]
    return [points[place] << _BITS | points[place + 1] for place in range(0, len(points), 2)]


def _comparison(operator: Operator, value: tree.Scalar) -> models.Filter:
    """A condition on one object of `facets`."""
    match value:
        case bool():
            return _must(models.FieldCondition(key="truth", match=models.MatchValue(value=value)))
        case tree.Moment(seconds):
            return _must(_range("moment", operator, seconds))
        case str() if operator is Operator.EQUAL:
            return _must(models.FieldCondition(key="text", match=models.MatchValue(value=value)))
        case str():
            return _text_comparison(operator, value)
        case _:
            return _must(_range("number", operator, value))


def _text_comparison(operator: Operator, value: str) -> models.Filter:
    """Texts that sort before or after a text: they first differ from it at one of its pairs of characters."""
    strict = Operator.LESS if operator in _BELOW else Operator.GREATER
    choices: list[models.Condition] = [
        _must(*_equal_prefix(value[: 2 * level]), _range(f"order{level}", strict, number))
        for level, number in enumerate(_order_keys(value))
    ]
    if operator in _INCLUSIVE:
        choices.append(_comparison(Operator.EQUAL, value))
    return models.Filter(should=choices)


def _in_box(box: tree.InBox) -> models.Filter:
    """A condition on points; Qdrant's own condition for boxes excludes their borders."""
    north = models.FieldCondition(key="at.lat", range=models.Range(gte=box.south, lte=box.north))
    west, east = _range("at.lon", Operator.AT_LEAST, box.west), _range("at.lon", Operator.AT_MOST, box.east)
    across = _must(west, east) if box.west <= box.east else models.Filter(should=[west, east])
    return _nested("points", box.field, _must(north, across))


def _any_facet(path: str, condition: models.Filter) -> models.Filter:
    return _nested("facets", path, condition)


def _nested(key: str, path: str, condition: models.Filter) -> models.Filter:
    of_path = models.FieldCondition(key="path", match=models.MatchValue(value=path))
    nested = models.Nested(key=key, filter=_must(of_path, condition))
    return _must(models.NestedCondition(nested=nested))


def _has_prefix(prefix: str) -> models.Filter:
    level, odd = divmod(len(prefix), 2)
    first = ord(prefix[-1]) << _BITS if odd else 0
    last = first + (1 << _BITS) - 1 if odd else None
    rest = models.FieldCondition(key=f"order{level}", range=models.Range(gte=first, lte=last))
    return _must(*_equal_prefix(prefix[: 2 * level]), rest)


def _equal_prefix(prefix: str) -> list[models.FieldCondition]:
    """The conditions of a text that begins with `prefix`, of 0, 2, 4, … characters."""
    if not prefix:
        return []
    return [models.FieldCondition(key="starts", match=models.MatchValue(value=_prefix_hash(prefix)))]


def _prefix_hash(prefix: str) -> int:
    """A 56-bit hash of a prefix of any length."""
    return int.from_bytes(hashlib.sha256(prefix.encode("utf-8", "surrogatepass")).digest()[:7], "big")


def _range(key: str, operator: Operator, value: float) -> models.FieldCondition:
    bounds = {"gte": value, "lte": value} if operator is Operator.EQUAL else {operator.value: value}
    return models.FieldCondition(key=key, range=models.Range(**bounds))


def _must(*conditions: models.Condition) -> models.Filter:
    return models.Filter(must=list(conditions))
