"""Cursors: which hits a caller has seen, so that the next page has the best of the others.

A cursor holds the ids of those items, or of groups short hashes of their values, with a hash of the query and the
collection they are of, and a checksum. So nothing has to be kept for callers, no hit comes twice, and none is missed
because others moved up or down when something was written.
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import Fusion
from anyseek.search.answers.results import GroupValue
from anyseek.search.errors import BadQuery, LimitExceeded
from anyseek.search.query.query import Query

_VERSION = b"\x01"
_HASH_BYTES = 8
_CHECKSUM_BYTES = 4
_DAMAGED = "the cursor is damaged; send the `next` of an answer as it came"
_LONGEST = 200_000  # characters
_READ_OF_ARRAY = 65_536  # bytes of a picture that tell it from another
# What makes a query another one, beside its parts; `k` may change from page to page, and what hits bring along. A
# newer member counts where it is given, so that cursors of earlier versions stay those of their queries.
_COMPARED = ("space", "spaces", "where", "fusion", "min_score", "min_probability", "group_by", "group_size")
_BESIDE = ("parts", "k", "offset", "cursor", "vectors", "facets", "explain", "explain_keys")
_NEWER = [member for member in fields(Query) if member.name not in (*_COMPARED, *_BESIDE)]
_name_of = cache(str)  # NumPy puts the name of a dtype together each time
_PLAIN, _SEVERAL = str | int | float, tuple | list | frozenset


class BadCursor(BadQuery):
    code = "bad-cursor"


class Chosen(NamedTuple):
    """An item that becomes a hit unless it is damaged. `rank` is that of its group where there are groups."""

    item_id: int
    score: float
    rank: int
    group: GroupValue | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Seen:
    """The hits given on the pages before: ids of items, or of groups the hashes of their values."""

    items: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.items) + len(self.groups)

    def with_chosen(self, chosen: Sequence[Chosen], in_groups: bool) -> "Seen":
        """This and a further page."""
        if in_groups:
            return Seen(groups=self.groups | {group_hash(one.group) for one in chosen if one.group is not None})
        return Seen(items=self.items | {one.item_id for one in chosen})


def group_hash(value: GroupValue) -> int:
    """A number of 64 bits for the value of a group; by type, too, because 1 and true are equal in Python."""
    named = f"{type(value).__name__} {value}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Pages:
    """The pages of one query of one collection: what has been `seen` of them, and at most how many hits they have."""

    asked: bytes
    seen: Seen
    most: int

    def following(self, query: Query, chosen: Sequence[Chosen]) -> str | None:
        """The cursor for the page after `chosen`; None at the end, and for pages that began by an offset."""
        given = {one.rank for one in chosen}
        reached = query.reach * query.group_size
        if len(given) < query.k or len(self.seen) < query.offset or reached + query.k * query.group_size > self.most:
            return None
        return _text(self.asked, self.seen.with_chosen(chosen, query.group_by is not None))


def pages_of(query: Query, collection_id: int, most: int) -> Pages:
    """The pages of a query, from its cursor if it has one.

    Raises `BadCursor` for a cursor that is damaged or of another query, `BadQuery`, `LimitExceeded`.
    """
    asked = _hash_of(query, collection_id)
    if query.cursor is None:
        return Pages(asked, Seen(), most)
    if query.offset:
        raise BadQuery("the query has an offset and a cursor; a cursor says itself where its page begins")
    seen = _read(query.cursor, asked)
    if (len(seen) + query.k) * query.group_size > most:
        raise LimitExceeded(f"{len(seen):,} hits have been seen and k is {query.k:,}; all pages have at most {most:,}")
    return Pages(asked, seen, most)


def _text(asked: bytes, seen: Seen) -> str:
    numbers = np.array(sorted(seen.groups or seen.items), "<u8")
    differences = numbers.copy()
    differences[1:] -= numbers[:-1]  # small ones, which compress well
    kind = b"g" if seen.groups else b"i"
    body = _VERSION + kind + asked + zlib.compress(differences.tobytes())
    return base64.urlsafe_b64encode(body + _checksum(body)).decode().rstrip("=")


def count_seen(cursor: str) -> int:
    """How many hits, or groups, the pages up to a cursor had, whatever query it is of. Raises `BadCursor`."""
    return len(_numbers(_body(cursor)))


def _read(text: str, asked: bytes) -> Seen:
    body = _body(text)
    if body[2 : 2 + _HASH_BYTES] != asked:
        raise BadCursor("the cursor is of another query or collection; ask with what it came from, or without it")
    held = frozenset(np.cumsum(_numbers(body), dtype=np.uint64).tolist())
    return Seen(groups=held) if body[1:2] == b"g" else Seen(items=held)


def _body(text: str) -> bytes:
    """A cursor without its checksum, which is right. Raises `BadCursor`."""
    if len(text) > _LONGEST:
        raise BadCursor(_DAMAGED)
    try:
        whole = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadCursor(_DAMAGED) from error
    body, checksum = whole[:-_CHECKSUM_BYTES], whole[-_CHECKSUM_BYTES:]
    if body[:1] != _VERSION or checksum != _checksum(body):
        raise BadCursor(_DAMAGED)
    return body


def _numbers(body: bytes) -> npt.NDArray[np.uint64]:
    """The numbers of what was seen, each less the one before. Raises `BadCursor`."""
    try:
        return np.frombuffer(_unpacked(body[2 + _HASH_BYTES :]), "<u8")
    except (zlib.error, ValueError) as error:
        raise BadCursor(_DAMAGED) from error


def _unpacked(data: bytes) -> bytes:
    """At most what a cursor of the most hits has, whatever `data` claims to be."""
    return zlib.decompressobj().decompress(data, _LONGEST)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()


def _hash_of(query: Query, collection_id: int) -> bytes:
    pieces = [str(collection_id).encode(), f"({len(query.contents)}".encode()]
    for part in query.contents:
        pieces.append(b"Part")
        for value in (part.modality, part.value, part.item, part.weight, part.vector, part.collection):
            _add(pieces, value)
    pieces.append(f"({len(query.words)}".encode())
    for part in query.words:
        pieces.append(b"Words")
        _add(pieces, part.value)
        _add(pieces, part.weight)
    for name in _COMPARED:
        value = getattr(query, name)
        _add(pieces, Fusion(value) if name == "fusion" and value else value)
    for member in _NEWER:
        if getattr(query, member.name) != member.default:
            _add(pieces, (member.name, getattr(query, member.name)))
    return hashlib.blake2b(b"".join(pieces), digest_size=_HASH_BYTES).digest()


@cache
def _compared(kind: type[Any]) -> tuple[str, ...]:
    """The fields by which values of a dataclass are told from each other; looking them up takes longer than hashing."""
    return tuple(one.name for one in fields(kind) if one.compare)


def _add(pieces: list[bytes], value: Any) -> None:
    """Add a value to what is hashed, with its kind and where it ends; of long arrays evenly spread numbers."""
    if value is None:  # as most of them are
        pieces.append(b"None,")
    elif isinstance(value, _PLAIN):
        pieces.append(f"{value!r},".encode(errors="surrogatepass"))
    elif isinstance(value, np.ndarray):
        step = max(1, value.nbytes // _READ_OF_ARRAY) | 1  # odd, so that it meets every channel
        pieces += f"{_name_of(value.dtype)}{value.shape}".encode(), value.reshape(-1)[::step].tobytes()
    elif is_dataclass(value):
        pieces.append(type(value).__name__.encode())
        for name in _compared(type(value)):  # type: ignore[arg-type]
            _add(pieces, getattr(value, name))
    elif isinstance(value, Mapping):
        _add(pieces, sorted(value.items(), key=repr))
    elif isinstance(value, _SEVERAL):
        pieces.append(f"({len(value)}".encode())
        for each in value:
            _add(pieces, each)
    else:
        pieces.append(f"{value!r},".encode(errors="surrogatepass"))
