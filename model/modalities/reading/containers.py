"""Which decoder reads a picture file, told by its first bytes and never by its name.

Formats that Pillow does not read by itself are registered with it when the first file of theirs comes: HEIF by
pillow-heif, which whoever may not have its GPL parts uninstalls, JPEG XL by pillow-jxl-plugin, of the extra `jxl`.
"""

import io
from functools import cache
from typing import Final

from PIL import Image, UnidentifiedImageError

from anyseek.model.modalities.reading.encoded import Encoded
from anyseek.model.modalities.reading.errors import BrokenPicture, FormatNotInstalled
from anyseek.model.modalities.reading.jxl import is_jxl

PLAIN = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # JPEG with further views, as phones write, is among them
KNOWN = (*PLAIN, "HEIF", "AVIF", "JPEG XL", "camera RAW")

_HEIF: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF: Final = frozenset({b"avif", b"avis"})
_MOST_BRANDS = 64  # of a file's type box; real ones name fewer than ten


def open_container(file: Encoded) -> Image.Image:
    """The header of a picture by the decoder of its format.

    Raises `FormatNotInstalled`, `BrokenPicture` for a file that is of a format only by its first bytes, and whatever
    Pillow raises.
    """
    decoders = _decoders(file)
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


def _decoders(file: Encoded) -> tuple[str, ...]:
    """Pillow's names of the formats that the file may be."""
    if is_avif(file.data):
        return ("AVIF",)
    if is_heif(file.data):
        if not _register_heif():
            raise FormatNotInstalled(f"{file.name} is HEIF, which needs pip install pillow-heif")
        return ("HEIF",)
    if is_jxl(file.data):
        if not _register_jxl():
            raise FormatNotInstalled(f"{file.name} is JPEG XL, which needs pip install 'anyseek[jxl]'")
        return ("JXL",)
    return PLAIN


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
