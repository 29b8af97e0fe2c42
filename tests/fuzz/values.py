"""Values that programs stumble over, and damage to bytes."""

import base64
import json
from random import Random
from typing import Any
from urllib.parse import quote_from_bytes

COLLECTION, KEYS = "a", ("x", "folder/y", "with space", "50% off", "ü")
ALIKE = "c"  # another collection of the same model
OTHER, PICTURES = "b", ("disc", "box", "bar", "folder/disc")  # and one of pictures, of another model

_TEXTS = (
    "", " ", "a", "\0", "a\0b", "\ud800", "\udfff\ud800", "\u202e", "\ufeff", "e\u0301" * 50, "🐕" * 20, "\r\n",
    "'", '"', "\\", "`", "%", "%00", "..", "../../etc/passwd", "/", "//", "-1", "1e309", "NaN", "null",
    "9" * 400, "x" * 3_000,
    "{}", "[", "[[[[[[", "2024-02-30", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "a" * 600 + ":1",
    "*", "a* OR b", '"unended', "NEAR(a b)", "caption:a", "#ff0000", "#ff000", "http://127.0.0.1:1/", "file:///etc/passwd",
    "s3://b/k", "hf://x", "newest:", "oldest:2024:", "\x1b[31m", "a,b,,c", "true", "x" * 10_001,
)  # fmt: skip
_NUMBERS = (
    0, 1, -1, 2, 7, 127, 255, 256, 10_000, 10_001, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400,
    0.0, -0.0, 0.5, -1.5, 1e-320, 1e300, 1.7976931348623157e308, 90.0, 180.0, 181.0,
)  # fmt: skip
_WORDS = (
    "rgb", "caption", "depth", "semseg", "canny_edge", "sketch", "color_palette", "palette", "words", "item",
    "vector", "bounding_boxes", "human_pose", "metadata", "normal", "k", "where", "space", "fusion", "classes",
    "weight", "box", "form", "forms", "collection", "collections", "spaces", "facets", "cursor", "explain",
    "explain_keys", "min_probability", "predict_attributes", "name", "mask",
)  # fmt: skip


def text(random: Random) -> str:
    """A text, seldom a plain one."""
    if random.random() < 0.3:
        return "".join(chr(random.choice((random.randrange(32, 127), random.randrange(0xD7FF)))) for _ in range(8))
    return random.choice(_TEXTS)


def word(random: Random) -> str:
    """A name that a request may have, or any text."""
    return random.choice(_WORDS) if random.random() < 0.7 else text(random)


def value(random: Random, depth: int = 0) -> Any:
    """Any value of JSON."""
    kind = random.random()
    if kind < 0.35 or depth > 3:
        return text(random)
    if kind < 0.6:
        return random.choice(_NUMBERS)
    if kind < 0.75:
        return random.choice((None, True, False))
    if kind < 0.88:
        return [value(random, depth + 1) for _ in range(random.randrange(4))]
    return {word(random): value(random, depth + 1) for _ in range(random.randrange(4))}


def as_json(wanted: Any) -> bytes:
    """JSON in ASCII, so that halves of surrogate pairs can be sent."""
    return json.dumps(wanted).encode()


def quoted(wanted: str) -> str:
    """One segment of a path, or one value in a query: percent-encoded, halves of surrogate pairs too."""
    return quote_from_bytes(wanted.encode("utf-8", "surrogatepass"), safe="")


def key(random: Random) -> str:
    """A key that is there, or any text."""
    return random.choice(KEYS) if random.random() < 0.5 else text(random)


def collection(random: Random) -> str:
    """The collection that is there, or any text."""
    return COLLECTION if random.random() < 0.85 else text(random)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def damaged(random: Random, data: bytes) -> bytes:
    """The bytes with a few of them changed, moved, doubled or missing; sometimes as they are."""
    found = bytearray(data)
    for _ in range(random.choice((0, 1, 1, 2, 3, 8))):
        place = random.randrange(len(found) + 1)
        until = min(len(found), place + random.choice((1, 1, 2, 4, 16, 200)))
        _damage(random, found, place, until)
    return bytes(found[: 1 << 20])


def _damage(random: Random, found: bytearray, place: int, until: int) -> None:
    how = random.randrange(6)
    if how == 0 and place < len(found):
        found[place] ^= 1 << random.randrange(8)
    elif how == 1:
        found[place:until] = random.choice((b"\0", b"\xff", b"\x7f")) * (until - place)
    elif how == 2:
        del found[place:until]
    elif how == 3:
        found[place:place] = found[place:until] * 2
    elif how == 4:
        found[place:place] = random.randbytes(random.choice((1, 4, 30)))
    elif random.random() < 0.3:
        del found[place:]


def replaced(random: Random, tree: Any) -> Any:
    """A JSON value in which one member or element is another, is missing, or is there in addition."""
    if isinstance(tree, dict) and tree and random.random() < 0.9:
        return _replaced_member(random, tree)
    if isinstance(tree, list) and tree and random.random() < 0.9:
        place = random.randrange(len(tree))
        return [*tree[:place], replaced(random, tree[place]), *tree[place + 1 :]]
    return value(random)


def _replaced_member(random: Random, tree: dict[str, Any]) -> dict[str, Any]:
    name, how = random.choice(list(tree)), random.random()
    if how < 0.15:
        return {other: tree[other] for other in tree if other != name}
    if how < 0.3:
        return tree | {word(random): value(random)}
    return tree | {name: replaced(random, tree[name])}
