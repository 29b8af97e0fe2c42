"""Queries with all that they may have: boxes, forms, several spaces and collections, pages, explanations."""

import base64
import hashlib
import io
import json
import zlib
from contextlib import suppress
from functools import cache
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from anyseek.search.answers.paging import pages_of
from anyseek.search.types import Part, Query
from tests.fuzz import values
from tests.fuzz.filters import written
from tests.fuzz.forms import Field, form
from tests.fuzz.sent import JSON, Sent

_SIMPLE: dict[str, Any] = {"parts": [{"modality": "caption", "text": "a dog"}], "k": 2}
_BOX = (0.1, 0.2, 0.6, 0.9)
_ODD_BOXES = (
    (0, 0, 1, 1), (0.5, 0.5, 0.5, 0.5), (0.9, 0.9, 0.1, 0.1), (0, 0, 1e-9, 1e-9), (-1, 0, 2, 1), (0.1, 0.2), (),
)  # fmt: skip
_FORMS = {
    "sketch": ("clean", "photographed"),
    "depth": ("far-bright", "near-bright", "inverse"),
    "normal": ("right-down-away", "left-up-near", "right-right-right"),
    "semseg": ("ids", "colours", "ade20k", "coco", "voc", "cityscapes"),
}
_SPACES = {
    values.COLLECTION: ("hashing",),
    values.OTHER: ("photo_global", "semantic_global", "visual_global", "colours"),
}
_FIELDS = ("n", "label", "place", "predicted.people", "predicted.basic_colours", "taken", "missing", "@key", "a..b")
_OF_ONE = ("facets", "cursor", "explain", "explain_keys", "space", "spaces")
_HELD = {values.COLLECTION: values.KEYS, values.OTHER: values.PICTURES}


@cache
def picture() -> str:
    """A PNG of a disc before a ground, as base64."""
    across, down = np.meshgrid(np.arange(48), np.arange(48))
    disc = (across - 20) ** 2 + (down - 28) ** 2 < 200
    pixels = np.where(disc[..., None], (200, 40, 40), (60, 160, 60)).astype(np.uint8)
    return _png(Image.fromarray(pixels))


@cache
def _depth() -> str:
    return _png(Image.fromarray(np.tile(np.linspace(0, 60_000, 48).astype(np.uint16), (48, 1))))


@cache
def _mask() -> str:
    return _png(Image.fromarray(np.uint8(255) * np.tri(48, dtype=np.uint8)))


@cache
def _regions() -> str:
    return _png(Image.fromarray(np.repeat(np.arange(3, dtype=np.uint8), 16)[None].repeat(48, 0)))


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return values.base64_of(file.getvalue())


def _part(random: Random, held: str) -> dict[str, Any]:
    """A part that is sound by itself, mostly one that the collection's model takes."""
    box = list(_BOX if random.random() < 0.6 else random.choice(_ODD_BOXES))
    pictures = random.choice(
        (
            {"item": random.choice(values.PICTURES), "collection": values.OTHER, "box": box},
            {"item": random.choice(_HELD[held]), "box": box},
            _map(random, "depth", _depth()),
            _map(random, "normal", picture()),
            _map(random, "semseg", _regions()),
            {"modality": "semseg", "data": _regions(), "classes": {"0": "sky", "#c82828": "sun"}, "name": "a.png"},
        )
    )
    plain = random.choice(
        (
            {"modality": "caption", "text": "a dog"},
            {"modality": "words", "text": "dog"},
            {"modality": "color_palette", "text": "#ff0000,#00ff00"},
            {"item": random.choice(_HELD[held])},
            {"modality": "rgb", "data": picture(), "box": box},
            {"modality": "rgb", "data": picture(), "mask": random.choice((_mask(), _depth(), "", picture()))},
            {"item": random.choice(_HELD[held]), "mask": _mask()},
            _map(random, "sketch", picture()),
        )
    )
    chosen = pictures if random.random() < (0.1 if held == values.COLLECTION else 0.4) else plain
    return chosen | ({"weight": random.choice((0.5, -0.5, -3, 1e-9, 0))} if random.random() < 0.2 else {})


def _map(random: Random, modality: str, data: str) -> dict[str, Any]:
    told = {"form": random.choice(_FORMS[modality])} if random.random() < 0.6 else {}
    return {"modality": modality, "data": data} | told


def _members(random: Random, held: str) -> dict[str, Any]:
    """What a query may have beside its parts, any few of it; one of those is sometimes out of its range."""
    offered: dict[str, Any] = {
        "explain": random.choice((1, 2, 20)),
        "explain_keys": [random.choice(_HELD[held])],
        "spaces": list(_SPACES[held][:2]),
        "space": random.choice(_SPACES[held]),
        "facets": random.sample(_FIELDS[:-1], random.randrange(1, 4)),
        "min_probability": random.choice((0.5, 0, 1)),
        "min_score": random.choice((-1, 0.2, 1)),
        "group_by": random.choice(_FIELDS[:-2]),
        "vectors": True,
        "offset": random.choice((1, 9_000)),
        "k": random.choice((1, 50, 1_000)),
    }
    odd: dict[str, Any] = {
        "explain": 21,
        "explain_keys": [values.text(random)] * 3,
        "spaces": ["missing", ""],
        "facets": ["a..b"],
        "cursor": "",
        "min_probability": 2,
        "group_size": 10_000,
        "where": written(random),
        "k": 10_001,
    }
    chosen = {name: offered[name] for name in random.sample(list(offered), random.choice((0, 1, 1, 2, 3)))}
    return chosen | ({(name := random.choice(list(odd))): odd[name]} if random.random() < 0.15 else {})


def cursor(random: Random) -> str:
    """A cursor that says to be of `_SIMPLE`, sealed as the service seals its own; its ids are any, and some damaged."""
    numbers = [random.choice((0, 1, 2, 2**31, 2**63 - 1, 2**63, 2**64 - 1, random.getrandbits(64)))]
    numbers += [random.getrandbits(64) for _ in range(random.choice((0, 1, 1, 1_000)))]
    packed = zlib.compress(np.array(numbers, "<u8").tobytes())
    if random.random() < 0.3:
        packed = random.choice((b"", packed[:-3], _bomb(), zlib.compress(b"odd"), packed + b"x"))
    body = b"\x01" + random.choice((b"i", b"g", b"x")) + _asked() + packed
    sealed = body + hashlib.blake2b(body, digest_size=4).digest()
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


@cache
def _bomb() -> bytes:
    """50 MB of zeros, in 50 kB."""
    return zlib.compress(b"\0" * 50_000_000)


@cache
def _asked() -> bytes:
    """The hash of `_SIMPLE`, asked in the first collection of a database."""
    return pages_of(Query((Part("caption", "a dog"),), 2), 1, 10_000).query_hash


def _query(random: Random, held: str) -> dict[str, Any]:
    if random.random() < 0.08:
        return _SIMPLE | {"cursor": cursor(random)}
    parts = [_part(random, held) for _ in range(random.choice((1, 1, 1, 2, 3)))]
    fusion = {"fusion": random.choice(("joint", "late", "ranks"))} if random.random() < 0.3 else {}
    return {"parts": parts, "k": 3} | fusion | _members(random, held)


def make(random: Random) -> Sent:
    """A query of one collection, of several, in an address, as a form, or of a batch."""
    held = values.COLLECTION if random.random() < 0.6 else values.OTHER  # whose model is slower
    query: Any = _query(random, held)
    if random.random() < 0.3:
        query = values.replaced(random, query)
    how = random.random()
    if how < 0.45:
        return Sent("POST", f"/v1/collections/{held}/query", values.as_json(query), JSON)
    if how < 0.6:
        return Sent("POST", "/v1/query", values.as_json(_of_several(random, query, held)), JSON)
    if how < 0.65:
        return form("POST", "/v1/query", _fields(random, _of_several(random, query, held)))
    if how < 0.75:
        return form("POST", f"/v1/collections/{held}/query", _fields(random, query))
    if how < 0.9:
        return Sent("GET", f"/v1/collections/{held}/query?{_parameters(query)}")
    batch = {"queries": [query, *(_query(random, held) for _ in range(2))]}
    return Sent("POST", f"/v1/collections/{held}/query/batch", values.as_json(batch), JSON)


def _names(held: str) -> list[str]:
    """A collection and those that are of its model."""
    return [values.OTHER] if held == values.OTHER else [values.COLLECTION, values.ALIKE]


def _of_several(random: Random, query: Any, held: str) -> Any:
    """The query for several collections, mostly without what only one can answer."""
    if not isinstance(query, dict):
        return query
    both = [values.COLLECTION, values.OTHER]
    odd = random.choice(([], ["missing"], both, both * 9, [values.OTHER] * 2, values.value(random)))
    if random.random() < 0.8:
        query = {name: value for name, value in query.items() if name not in _OF_ONE}
    return query | {"collections": _names(held) if random.random() < 0.7 else odd}


def _fields(random: Random, query: Any) -> list[Field]:
    """The query as a form, with the files of its parts; some are missing, or named by no part."""
    files = []
    parts = query.get("parts") if isinstance(query, dict) else None
    for number, part in enumerate(parts) if isinstance(parts, list) else ():
        if isinstance(part, dict) and isinstance(part.get("data"), str) and random.random() < 0.9:
            with suppress(ValueError):  # of what replaced the data
                files.append(Field(f"file {number}", base64.b64decode(part["data"]), "a.png"))
                part["file"] = f"file {number if random.random() < 0.95 else 17}"
                del part["data"]
    return [Field("query", values.as_json(query)), *files]


def _parameters(query: Any) -> str:
    """The query as an address; lists become parameters that come several times."""
    pairs: list[tuple[str, Any]] = []
    for name, value in query.items() if isinstance(query, dict) else ():
        pairs += [(name, each) for each in value] if isinstance(value, list) and name != "parts" else [(name, value)]
    given = [(name, value) for name, value in pairs if name not in ("parts", "where")] + [("text", "a dog")]
    return "&".join(f"{values.quoted(name)}={values.quoted(_written(value)[:2_000])}" for name, value in given)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
