"""Which decoder reads a picture file, told by its first bytes and never by its name.

Formats that Pillow does not read by itself are registered with it when the first file of theirs comes: HEIF by
pillow-heif, which whoever may not have its GPL parts uninstalls, JPEG XL by pillow-jxl-plugin, of the extra `jxl`.
"""

import io
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.reading.errors import BrokenPicture, FormatNotInstalled

if TYPE_CHECKING:  # commands that only look at first bytes start without Pillow
    from PIL import Image

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"

_SIZES_OF_BITS = (9, 13, 18, 30)
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height, by their number from 1
_MOST_BOXES = 1_000
_PART_NUMBER = 4  # bytes before the codestream in a box of a part of it


def is_jxl(start: bytes) -> bool:
    """Return whether a file that starts like this is JPEG XL."""
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
    for _ in range(_MOST_BOXES):
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


PLAIN = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG with further views, as phones write, is among them
KNOWN = (*PLAIN, "HEIF", "AVIF", "JPEG XL", "camera RAW")

_HEIF: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF: Final = frozenset({b"avif", b"avis"})
_MOST_BRANDS = 64  # of a file's type box; real ones name fewer than ten


def open_container(file: Encoded) -> "Image.Image":
    """The header of a picture by the decoder of its format.

    Raises `FormatNotInstalled`, `BrokenPicture` for a file that is of a format only by its first bytes, and whatever
    Pillow raises.
    """
    from PIL import Image, UnidentifiedImageError

    decoders: tuple[str, ...] = PLAIN
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
        if decoders == PLAIN:
            raise
        raise BrokenPicture(
            f"{file.name} is a damaged picture: it begins as {decoders[0]} and does not go on"
        ) from error


def is_heif(start: bytes) -> bool:
    """Whether a file that starts like this is HEIF, of which HEIC is a kind."""
    return bool(_brands(start) & _HEIF) and not is_avif(start)


def is_avif(start: bytes) -> bool:
    """Whether a file that starts like this is AVIF."""
    return bool(_brands(start) & _AVIF)


def _brands(start: bytes) -> frozenset[bytes]:
    """The brands of an ISO base media file: the major one, and those it is compatible with."""
    if start[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(start[:4], "big"), 16 + 4 * _MOST_BRANDS, len(start))
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
