"""Stateless cursors, which hold the hits that a caller has seen, so that the next page has the best of the others.

A cursor has the ids of the items, or short hashes of the values of groups, with a hash of the query and its collection
and a checksum. So the service keeps no state, no hit comes twice, and none is missed because writes changed the order.
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
_MAX_LENGTH = 200_000  # characters
_HASHED_ARRAY_BYTES = 65_536
# The members that identify a query, with its parts; `k` and what hits carry may change from page to page. Newer members
# are hashed only if they are set, so that cursors of earlier versions stay valid.
_HASHED_MEMBERS = ("space", "spaces", "where", "fusion", "min_score", "min_probability", "group_by", "group_size")
_IGNORED_MEMBERS = ("parts", "k", "offset", "cursor", "vectors", "facets", "explain", "explain_keys")
_NEWER_MEMBERS = [member for member in fields(Query) if member.name not in (*_HASHED_MEMBERS, *_IGNORED_MEMBERS)]
_name_of = cache(str)  # NumPy puts the name of a dtype together each time
_SCALARS, _SEQUENCES = str | int | float, tuple | list | frozenset


class BadCursor(BadQuery):
    code = "bad-cursor"


class HitCandidate(NamedTuple):
    """An item that becomes a hit unless it is damaged. With groups, `rank` is the rank of its group."""

    item_id: int
    score: float
    rank: int
    group: GroupValue | None = None
    probability: float | None = None


@dataclass(frozen=True)
class SeenHits:
    """The hits on the pages before: ids of items, or hashes of the values of groups."""

    items: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.items) + len(self.groups)

    def with_page(self, chosen: Sequence[HitCandidate], in_groups: bool) -> "SeenHits":
        """These hits and the hits of a further page."""
        if in_groups:
            return SeenHits(groups=self.groups | {group_hash(hit.group) for hit in chosen if hit.group is not None})
        return SeenHits(items=self.items | {hit.item_id for hit in chosen})


def group_hash(value: GroupValue) -> int:
    """A 64-bit hash of the value of a group, and of its type, because 1 and true are equal in Python."""
    named = f"{type(value).__name__} {value}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Pages:
    """The pages of one query of one collection: the hits `seen`, and the most hits that all pages have."""

    query_hash: bytes
    seen: SeenHits
    max_hits: int

    def next_cursor(self, query: Query, chosen: Sequence[HitCandidate]) -> str | None:
        """The cursor for the page after `chosen`; None at the end, and for pages that began with an offset."""
        ranks = {hit.rank for hit in chosen}
        shown = query.reach * query.group_size
        if len(ranks) < query.k or len(self.seen) < query.offset or shown + query.k * query.group_size > self.max_hits:
            return None
        return _encode(self.query_hash, self.seen.with_page(chosen, query.group_by is not None))


def pages_of(query: Query, collection_id: int, max_hits: int) -> Pages:
    """The pages of a query, from its cursor if it has one.

    Raises `BadCursor` for a cursor that is damaged or of another query, `BadQuery`, `LimitExceeded`.
    """
    query_hash = _query_hash(query, collection_id)
    if query.cursor is None:
        return Pages(query_hash, SeenHits(), max_hits)
    if query.offset:
        raise BadQuery("the query has an offset and a cursor; a cursor says itself where its page begins")
    seen = _decode(query.cursor, query_hash)
    if (len(seen) + query.k) * query.group_size > max_hits:
        raise LimitExceeded(f"{len(seen):,} hits were seen and k is {query.k:,}; all pages have at most {max_hits:,}")
    return Pages(query_hash, seen, max_hits)


def _encode(query_hash: bytes, seen: SeenHits) -> str:
    numbers = np.array(sorted(seen.groups or seen.items), "<u8")
    differences = numbers.copy()
    differences[1:] -= numbers[:-1]  # small ones, which compress well
    kind = b"g" if seen.groups else b"i"
    body = _VERSION + kind + query_hash + zlib.compress(differences.tobytes())
    return base64.urlsafe_b64encode(body + _checksum(body)).decode().rstrip("=")


def count_seen(cursor: str) -> int:
    """The number of hits, or groups, on the pages up to a cursor of any query. Raises `BadCursor`."""
    return len(_numbers(_body(cursor)))


def _decode(text: str, query_hash: bytes) -> SeenHits:
    body = _body(text)
    if body[2 : 2 + _HASH_BYTES] != query_hash:
        raise BadCursor("the cursor is of another query or collection; ask with what it came from, or without it")
    numbers = frozenset(np.cumsum(_numbers(body), dtype=np.uint64).tolist())
    return SeenHits(groups=numbers) if body[1:2] == b"g" else SeenHits(items=numbers)


def _body(text: str) -> bytes:
    """The body of a cursor, after its checksum was checked. Raises `BadCursor`."""
    if len(text) > _MAX_LENGTH:
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
    """The delta-encoded ids or hashes of the hits seen. Raises `BadCursor`."""
    try:
        return np.frombuffer(_decompress(body[2 + _HASH_BYTES :]), "<u8")
    except (zlib.error, ValueError) as error:
        raise BadCursor(_DAMAGED) from error


def _decompress(data: bytes) -> bytes:
    """The decompressed data, cut off at the length of the longest cursor, as a guard against zip bombs."""
    return zlib.decompressobj().decompress(data, _MAX_LENGTH)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()


def _query_hash(query: Query, collection_id: int) -> bytes:
    pieces = [str(collection_id).encode(), f"({len(query.contents)}".encode()]
    for part in query.contents:
        pieces.append(b"Part")
        for value in (part.modality, part.value, part.item, part.weight, part.vector, part.collection):
            _add_to_hash(pieces, value)
    pieces.append(f"({len(query.words)}".encode())
    for part in query.words:
        pieces.append(b"Words")
        _add_to_hash(pieces, part.value)
        _add_to_hash(pieces, part.weight)
    for name in _HASHED_MEMBERS:
        value = getattr(query, name)
        _add_to_hash(pieces, Fusion(value) if name == "fusion" and value else value)
    for member in _NEWER_MEMBERS:
        if getattr(query, member.name) != member.default:
            _add_to_hash(pieces, (member.name, getattr(query, member.name)))
    return hashlib.blake2b(b"".join(pieces), digest_size=_HASH_BYTES).digest()


@cache
def _compared_fields(kind: type[Any]) -> tuple[str, ...]:
    """The compared fields of a dataclass; cached, because looking them up takes longer than hashing."""
    return tuple(member.name for member in fields(kind) if member.compare)


def _add_to_hash(pieces: list[bytes], value: Any) -> None:
    """Append a value to the hash input, with its type and end; of long arrays, evenly spaced numbers."""
    if value is None:  # as most of them are
        pieces.append(b"None,")
    elif isinstance(value, _SCALARS):
        pieces.append(f"{value!r},".encode(errors="surrogatepass"))
    elif isinstance(value, np.ndarray):
        step = max(1, value.nbytes // _HASHED_ARRAY_BYTES) | 1  # odd, so that it meets every channel
        pieces += f"{_name_of(value.dtype)}{value.shape}".encode(), value.reshape(-1)[::step].tobytes()
    elif is_dataclass(value):
        pieces.append(type(value).__name__.encode())
        for name in _compared_fields(type(value)):  # type: ignore[arg-type]
            _add_to_hash(pieces, getattr(value, name))
    elif isinstance(value, Mapping):
        _add_to_hash(pieces, sorted(value.items(), key=repr))
    elif isinstance(value, _SEQUENCES):
        pieces.append(f"({len(value)}".encode())
        for element in value:
            _add_to_hash(pieces, element)
    else:
        pieces.append(f"{value!r},".encode(errors="surrogatepass"))
