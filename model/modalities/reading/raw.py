"""Camera RAW: the JPEG that the camera put into the file, found without decoding the sensor's numbers.

A RAW file of any maker holds finished JPEGs for looking at, somewhere among its tables and the sensor's numbers. Each
place in the file where a JPEG may begin is tried: its markers must lead to a size and to pixels. The largest is taken.
Nothing but marker lengths within the file is followed, so damaged files cost no more than a pass over their bytes.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_ALIKE = {b"IIRO": "<", b"IIRS": "<", b"MMOR": ">", b"IIU\0": "<"}  # Olympus and Panasonic
_FUJIFILM, _CANON_3 = b"FUJIFILMCCD-RAW", b"crx "

_PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 262, 330, 50_706
_OF_A_SENSOR = (32_803, 34_892)  # photometric interpretations: a mosaic of colours, or linear numbers
_MOST_IFDS, _MOST_ENTRIES, _ENTRY = 32, 1_000, 12
_NUMBERS = {3: "H", 4: "I", 13: "I"}  # types of entries by which pointers are written: SHORT, LONG, IFD

_JPEG = b"\xff\xd8\xff"
_SIZES = (0xC0, 0xC1, 0xC2)  # frames that every decoder reads; the lossless ones hold the sensor's numbers
_PIXELS = 0xDA
_MOST_MARKERS, _MOST_JPEGS = 200, 5_000


@dataclass(frozen=True)
class Preview:
    """A JPEG within a file: where it starts, and its size in pixels."""

    start: int
    width: int
    height: int


def is_raw(data: bytes) -> bool:
    """Whether a file is a camera RAW: by its first bytes or, where these are those of TIFF, by its tables."""
    if is_raw_start(data) or data[:4] not in _TIFF:
        return is_raw_start(data)
    return any(_DNG_VERSION in ifd or ifd.get(_PHOTOMETRIC, (0,))[0] in _OF_A_SENSOR for ifd in _ifds(data))


def is_raw_start(start: bytes) -> bool:
    """Whether the first 12 bytes alone show that a file is a camera RAW."""
    if start[:4] in _TIFF:
        return start[8:10] == b"CR"
    return start[:4] in _TIFF_ALIKE or start.startswith(_FUJIFILM[:12]) or start[4:12] == b"ftyp" + _CANON_3


def preview_of(data: bytes) -> Preview | None:
    """The largest JPEG in the file; None if there is none."""
    starts = islice(re.finditer(re.escape(_JPEG), data), _MOST_JPEGS)
    found = [preview for start in starts if (preview := _jpeg_at(data, start.start())) is not None]
    return max(found, key=lambda preview: preview.width * preview.height, default=None)


def as_tiff(data: bytes) -> bytes | None:
    """The file's own tables as TIFF, in which cameras write what EXIF says; None if it has none."""
    if data[:4] in _TIFF:
        return data
    order = _TIFF_ALIKE.get(data[:4])
    return None if order is None else {"<": b"II*\0", ">": b"MM\0*"}[order] + data[4:]


def _jpeg_at(data: bytes, start: int) -> Preview | None:
    """The JPEG that starts there; None if its markers do not lead to a size and then to pixels."""
    place, size = start + 2, None
    for _ in range(_MOST_MARKERS):
        if data[place : place + 1] != b"\xff" or place + 9 > len(data):
            return None
        kind, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if kind == _PIXELS:
            return None if size is None else Preview(start, *size)
        if kind in _SIZES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            size = (width, height) if width and height else None
        if length < 2:
            return None
        place += 2 + length
    return None


def _ifds(data: bytes) -> Iterator[Mapping[int, tuple[int, ...]]]:
    """The whole numbers in each table of a TIFF file, by their tags; tables beside and below the first are followed."""
    order = _TIFF[data[:4]]
    waiting, seen = [_number(data, 4, order)], set[int]()
    while waiting and len(seen) < _MOST_IFDS:
        start = waiting.pop(0)
        if start in seen or not 8 <= start <= len(data) - 2:
            continue
        seen.add(start)
        count = min(struct.unpack_from(f"{order}H", data, start)[0], _MOST_ENTRIES)
        found = dict(_entries(data, start + 2, count, order))
        yield found
        waiting += [_number(data, start + 2 + count * _ENTRY, order), *found.get(_SUB_IFDS, ())]


def _entries(data: bytes, start: int, count: int, order: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    for place in range(start, min(start + count * _ENTRY, len(data) - _ENTRY + 1), _ENTRY):
        tag, kind, amount = struct.unpack_from(f"{order}HHI", data, place)
        form = f"{order}{min(amount, _MOST_IFDS)}{_NUMBERS.get(kind, 'B')}"
        length = struct.calcsize(form)
        at = place + 8 if length <= 4 else _number(data, place + 8, order)
        if amount and at + length <= len(data):
            yield tag, struct.unpack_from(form, data, at)


def _number(data: bytes, place: int, order: str) -> int:
    """The 32 bits at a place; 0, which leads nowhere, beyond the end."""
    return int(struct.unpack_from(f"{order}I", data, place)[0]) if 0 <= place <= len(data) - 4 else 0
