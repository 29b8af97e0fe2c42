"""Choose the decoder of a picture file by its first bytes, never by its name.

Formats that need a Pillow plugin are registered when their first file comes: HEIF by pillow-heif, which may be
uninstalled where its GPL parts are not allowed, JPEG XL by pillow-jxl-plugin, of the extra `jxl`.

A camera RAW is read as the largest JPEG preview in it, found without decoding sensor data: at each offset where a JPEG
may begin, its markers must lead to a size and to pixels. Only marker lengths within the file are followed, so damaged
files cost no more than a pass over their bytes.
"""

import io
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Final

from anyseek.model.modalities.reading.encoded import EncodedFile
from anyseek.model.modalities.reading.errors import BrokenPicture, FormatNotInstalled

if TYPE_CHECKING:  # commands that only look at first bytes start without Pillow
    from PIL import Image

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"

_SIZES_OF_BITS = (9, 13, 18, 30)
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height, by their number from 1
_MAX_BOXES = 1_000
_PART_NUMBER = 4  # bytes before the codestream in a box of a part of it


def is_jxl(start: bytes) -> bool:
    """Whether the first bytes of a file are those of JPEG XL."""
    return start.startswith((CODESTREAM, CONTAINER))


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None if the header cannot be understood."""
    start: int | None = 0
    if not data.startswith(CODESTREAM):
        offsets = {b"jxlc": 0, b"jxlp": _PART_NUMBER}  # the codestream is in a box, or its first part is
        start = next((place + offsets[kind] for kind, place in _boxes(data) if kind in offsets), None)
    if start is None or data[start : start + 2] != CODESTREAM:
        return None
    return _Bits(data[start + 2 : start + 14]).size()


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The kind of each box and where its content begins."""
    place = 0
    for _ in range(_MAX_BOXES):
        length, kind, start = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8], place + 8
        if length == 1:  # the length follows as 64 bits
            length, start = int.from_bytes(data[place + 8 : place + 16], "big"), place + 16
        if len(kind) < 4:
            return
        yield kind, start
        if length < start - place:  # 0: the box goes on to the end; else it is damaged
            return
        place += length


class _Bits:
    """Reads numbers from bytes, lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")

    def size(self) -> tuple[int, int]:
        """The size header: the height, then the width or its ratio to the height."""
        is_small = self._take(1)
        height = self._side(is_small)
        ratio = self._take(3)
        if not ratio:
            return self._side(is_small), height
        numerator, denominator = _RATIOS[ratio - 1]
        return height * numerator // denominator, height

    def _side(self, is_small: int) -> int:
        if is_small:
            return (self._take(5) + 1) * 8
        return self._take(_SIZES_OF_BITS[self._take(2)]) + 1

    def _take(self, count: int) -> int:
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value


PLAIN_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG with further views, as phones write, is among them
KNOWN_FORMATS = (*PLAIN_FORMATS, "HEIF", "AVIF", "JPEG XL", "camera RAW")

_HEIF: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF: Final = frozenset({b"avif", b"avis"})
_MAX_BRANDS = 64  # of a file's type box; real ones name fewer than ten


def open_container(file: EncodedFile) -> "Image.Image":
    """The header of a picture by the decoder of its format.

    Raises `FormatNotInstalled`, `BrokenPicture` for a file that is of a format only by its first bytes, and whatever
    Pillow raises.
    """
    from PIL import Image, UnidentifiedImageError

    decoders: tuple[str, ...] = PLAIN_FORMATS
    if is_avif(file.data):
        decoders = ("AVIF",)
    elif is_heif(file.data):
        if not _register_heif():
            raise FormatNotInstalled(f"{file.name} is HEIF, which needs pip install pillow-heif")
        decoders = ("HEIF",)
    elif is_jxl(file.data):
        if not _register_jxl():
            raise FormatNotInstalled(f"{file.name} is JPEG XL, which needs pip install 'anyseek[jxl]'")
        decoders = ("JXL",)
    try:
        return Image.open(io.BytesIO(file.data), formats=decoders)
    except UnidentifiedImageError as error:
        if decoders == PLAIN_FORMATS:
            raise
        raise BrokenPicture(
            f"{file.name} is a damaged picture: it begins as {decoders[0]} and does not go on"
        ) from error


def is_heif(start: bytes) -> bool:
    """Whether the first bytes of a file are those of HEIF, including HEIC."""
    return bool(_brands(start) & _HEIF) and not is_avif(start)


def is_avif(start: bytes) -> bool:
    """Whether the first bytes of a file are those of AVIF."""
    return bool(_brands(start) & _AVIF)


def _brands(start: bytes) -> frozenset[bytes]:
    """The brands of an ISO base media file: the major one, and those it is compatible with."""
    if start[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(start[:4], "big"), 16 + 4 * _MAX_BRANDS, len(start))
    return frozenset([start[8:12], *(start[place : place + 4] for place in range(16, end, 4))])


@cache
def _register_heif() -> bool:
    """Have Pillow read HEIF in one thread: files are decoded side by side already. False where it is not installed."""
    try:
        import pillow_heif  # 23 MB of code, which an installation without such files need not load
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return True


@cache
def _register_jxl() -> bool:
    """Have Pillow read JPEG XL; false where the extra is not installed."""
    try:
        import pillow_jxl.JpegXLImagePlugin
    except ImportError:
        return False
    pillow_jxl.JpegXLImagePlugin.DECODE_THREADS = 0
    return True


_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_VARIANTS = {b"IIRO": "<", b"IIRS": "<", b"MMOR": ">", b"IIU\0": "<"}  # Olympus and Panasonic
_FUJIFILM, _CANON_3 = b"FUJIFILMCCD-RAW", b"crx "

_PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 262, 330, 50_706
_SENSOR_PHOTOMETRICS = (32_803, 34_892)  # photometric interpretations: a mosaic of colours, or linear numbers
_MAX_IFDS, _MAX_ENTRIES, _ENTRY = 32, 1_000, 12
_NUMBERS = {3: "H", 4: "I", 13: "I"}  # types of entries by which pointers are written: SHORT, LONG, IFD

_JPEG = b"\xff\xd8\xff"
_SIZES = (0xC0, 0xC1, 0xC2)  # frames that every decoder reads; the lossless ones hold the sensor's numbers
_PIXELS = 0xDA
_MAX_MARKERS, _MAX_JPEGS = 200, 5_000


@dataclass(frozen=True)
class Preview:
    """A JPEG within a file: where it starts, and its size in pixels."""

    start: int
    width: int
    height: int


def is_raw(data: bytes) -> bool:
    """Whether a file is a camera RAW, by its first bytes or, for TIFF, by the tags of its tables."""
    if is_raw_start(data) or data[:4] not in _TIFF:
        return is_raw_start(data)
    return any(_DNG_VERSION in ifd or ifd.get(_PHOTOMETRIC, (0,))[0] in _SENSOR_PHOTOMETRICS for ifd in _ifds(data))


def is_raw_start(start: bytes) -> bool:
    """Whether the first 12 bytes alone show that a file is a camera RAW."""
    if start[:4] in _TIFF:
        return start[8:10] == b"CR"
    return start[:4] in _TIFF_VARIANTS or start.startswith(_FUJIFILM[:12]) or start[4:12] == b"ftyp" + _CANON_3


def find_preview(data: bytes) -> Preview | None:
    """The largest JPEG in the file; None if there is none."""
    starts = islice(re.finditer(re.escape(_JPEG), data), _MAX_JPEGS)
    previews = [preview for start in starts if (preview := _jpeg_at(data, start.start())) is not None]
    return max(previews, key=lambda preview: preview.width * preview.height, default=None)


def tiff_tables(data: bytes) -> bytes | None:
    """The file as TIFF, whose tables hold the EXIF tags; None if it has none."""
    if data[:4] in _TIFF:
        return data
    order = _TIFF_VARIANTS.get(data[:4])
    return None if order is None else {"<": b"II*\0", ">": b"MM\0*"}[order] + data[4:]


def _jpeg_at(data: bytes, start: int) -> Preview | None:
    """The JPEG that starts there; None if its markers do not lead to a size and then to pixels."""
    place, size = start + 2, None
    for _ in range(_MAX_MARKERS):
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
    """The integers in each table of a TIFF file by tag, following next and sub-tables."""
    order = _TIFF[data[:4]]
    pending, seen = [_read_uint32(data, 4, order)], set[int]()
    while pending and len(seen) < _MAX_IFDS:
        start = pending.pop(0)
        if start in seen or not 8 <= start <= len(data) - 2:
            continue
        seen.add(start)
        count = min(struct.unpack_from(f"{order}H", data, start)[0], _MAX_ENTRIES)
        table = dict(_entries(data, start + 2, count, order))
        yield table
        pending += [_read_uint32(data, start + 2 + count * _ENTRY, order), *table.get(_SUB_IFDS, ())]


def _entries(data: bytes, start: int, count: int, order: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    for place in range(start, min(start + count * _ENTRY, len(data) - _ENTRY + 1), _ENTRY):
        tag, kind, amount = struct.unpack_from(f"{order}HHI", data, place)
        form = f"{order}{min(amount, _MAX_IFDS)}{_NUMBERS.get(kind, 'B')}"
        length = struct.calcsize(form)
        at = place + 8 if length <= 4 else _read_uint32(data, place + 8, order)
        if amount and at + length <= len(data):
            yield tag, struct.unpack_from(form, data, at)


def _read_uint32(data: bytes, place: int, order: str) -> int:
    """The uint32 at an offset; 0, which is no table, beyond the end."""
    return int(struct.unpack_from(f"{order}I", data, place)[0]) if 0 <= place <= len(data) - 4 else 0
