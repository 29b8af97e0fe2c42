"""Reads the members of a tar archive in order, starting at any member, without keeping a list of them.

Python's own reader takes a truncated archive for one that ends there; this reader reports it.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from anyseek.indexer.errors import InputError

BLOCK = 512
_LONGEST_NAME = 65_536
_LONG_NAME, _EXTENDED = b"L", b"x"  # what follows is the name of the next member, or more of its facts
_NO_FILES = (b"K", b"g")  # the target of a link, facts of all members


class BadArchive(InputError):
    """The file is not a tar archive, or is damaged or truncated."""

    code = "bad-archive"


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, the `place` to start reading the archive at, and the position of its bytes."""

    name: str
    place: int
    start: int
    size: int

    @property
    def following(self) -> int:
        """The place after this member."""
        return self.start + _padded(self.size)


def members(stream: BinaryIO, length: int, place: int = 0) -> Iterator[Member]:
    """Yield the regular files from `place` on, in order. `length` is the size of the archive in bytes.

    Raises `BadArchive` where the archive cannot be read any further.
    """
    while header := _header(stream, place):
        first, given = place, _Given()
        while header.type in (_LONG_NAME, _EXTENDED, *_NO_FILES):
            given = _more(stream, header, place, given)
            place += BLOCK + _padded(header.size)
            header = _header(stream, place)
            if header is None:
                raise BadArchive(f"damaged at byte {place:,}")
        name, start = given.name or header.name, place + BLOCK
        size = header.size if given.size is None else given.size
        place = start + (_padded(size) if _has_content(header) else 0)
        if header.isreg():
            if not 0 <= size <= length - start or header.type == tarfile.GNUTYPE_SPARSE:
                raise BadArchive(f"the archive is cut off in {name!r}, or written in a format that cannot be read")
            yield Member(name, first, start, size)


@dataclass(frozen=True)
class _Given:
    """Facts about a member from the headers before its own."""

    name: str | None = None
    size: int | None = None


def _more(stream: BinaryIO, header: tarfile.TarInfo, place: int, given: _Given) -> _Given:
    if not 0 <= header.size <= _LONGEST_NAME:
        raise BadArchive(f"the name of a member at byte {place:,} is too long")
    stream.seek(place + BLOCK)
    data = stream.read(header.size)
    if header.type == _LONG_NAME:
        return _Given(data.rstrip(b"\0").decode("utf-8", "surrogateescape"), given.size)
    if header.type == _EXTENDED:
        facts = _facts(data, place)
        return _Given(facts.get("path", given.name), int(facts["size"]) if "size" in facts else given.size)
    return given


def _has_content(header: tarfile.TarInfo) -> bool:
    return header.isreg() or header.type not in tarfile.SUPPORTED_TYPES


def _padded(size: int) -> int:
    return -(-max(size, 0) // BLOCK) * BLOCK


def _header(stream: BinaryIO, place: int) -> tarfile.TarInfo | None:
    """Read the header at `place`; None at the end mark. Raises `BadArchive`."""
    stream.seek(place)
    block = stream.read(BLOCK)
    if len(block) < BLOCK and place:
        raise BadArchive("the archive is cut off: it has no end mark")
    if not block:
        raise BadArchive("it is empty")
    if not any(block):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        what = (
            "it is not a tar archive (compressed archives cannot be read)"
            if place == 0
            else f"damaged at byte {place:,}"
        )
        raise BadArchive(what) from error


def _facts(data: bytes, place: int) -> dict[str, str]:
    """The records `LENGTH KEY=VALUE` of a pax header."""
    facts: dict[str, str] = {}
    try:
        while data.strip(b"\0"):
            length = int(data.split(b" ", 1)[0])
            if length <= 0:
                raise ValueError("a record without a length")
            key, _, value = data[:length].split(b" ", 1)[1].rstrip(b"\n").partition(b"=")
            facts[key.decode()] = value.decode("utf-8", "surrogateescape")
            data = data[length:]
        int(facts.get("size", 0))
    except (ValueError, IndexError) as error:
        raise BadArchive(f"damaged at byte {place:,}") from error
    return facts
