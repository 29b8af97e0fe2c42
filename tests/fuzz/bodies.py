"""JSON bodies: sound ones in which something is replaced, and JSON whose bytes are damaged."""

from random import Random
from typing import Any

from tests.fuzz import values
from tests.fuzz.sent import JSON, Sent

_MERGE_PATCH = {"content-type": "application/merge-patch+json"}

_QUERY: dict[str, Any] = {
    "parts": [
        {"modality": "caption", "text": "a dog", "weight": 1.0},
        {"item": "x", "weight": -0.5},
        {"modality": "words", "text": "dog"},
        {"modality": "color_palette", "text": "#ff0000,#00ff00"},
    ],
    "k": 5, "offset": 1, "min_score": -0.5, "vectors": True, "group_by": "label", "group_size": 2, "fusion": "ranks",
    "where": {"field": "n", "gte": 1}, "space": None,
}  # fmt: skip
_SIMPLE: dict[str, Any] = {"parts": [{"text": "a dog"}], "k": 3}
_PATCH: dict[str, Any] = {
    "attributes": {"n": 2, "place": {"town": "Rome", "lat": None}, "label": None, "list": [1, {"a": "b"}]},
    "caption": "a cat",
}
_BODIES: tuple[tuple[str, Any], ...] = (
    ("/v1/collections/a/query", _QUERY),
    ("/v1/collections/a/query", _SIMPLE),
    ("/v1/collections/a/query", {"parts": [{"vector": [0.1] * 64}], "space": "hashing"}),
    ("/v1/collections/a/query/batch", {"queries": [_SIMPLE, "a dog", _QUERY]}),
    ("/v1/collections", {"name": "a"}),
    (
        "/v1/collections/a/jobs",
        {
            "source": "/fuzz",
            "prune": False,
            "on_duplicate": "skip",
            "key_prefix": "p",
            "predict_attributes": True,
        },
    ),
    ("/v1/collections/a/reembed", {"model": "hashing"}),
    ("/v1/collections/a/tune", {"items": 10, "dry_run": True}),
    ("/v1/previews", {"modality": "color_palette", "data": "#ff0000", "classes": {"0": "sky"}, "shaded": False}),
    (
        "/v1/predict",
        {"inputs": [{"modality": "caption", "text": "a"}], "targets": ["depth"], "options": {"seed": 1}},
    ),
)  # fmt: skip


_PATCHED = 0.15


def make(random: Random) -> Sent:
    """A request with a JSON body, or a patch of an item."""
    patches = random.random() < _PATCHED
    path, body = (_item(random), _PATCH) if patches else random.choice(_BODIES)
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        body = values.replaced(random, body)
    data = values.as_json(body)
    if random.random() < 0.2:
        data = values.damaged(random, data)
    if random.random() < 0.02:
        data = random.choice(
            (b"[" * 100_000, b'{"parts":' * 5_000, b'{"where": [' + b"{}," * 200_000 + b"{}]}", b" " * 2_000_000)
        )
    headers = JSON if random.random() < 0.95 else {}
    if patches:
        return Sent("PATCH", path, data, random.choice((headers, _MERGE_PATCH, headers | _if_match(random))))
    return Sent("POST", path, data, headers)


def _item(random: Random) -> str:
    return f"/v1/collections/{values.COLLECTION}/items/{values.quoted(values.key(random))}"


def _if_match(random: Random) -> dict[str, str]:
    return {
        "if-match": random.choice(("*", '"1-1"', 'W/"7-2"', "1-1", '""', '"', ",", '"' + "9" * 400 + '-1"', '"-1--1"'))
    }
