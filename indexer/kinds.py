"""The kind of a file, by its name or by its first bytes."""

import posixpath

from model.modalities.registry import PICTURE_SUFFIXES

SNIFFED_BYTES = 18

# Includes pictures that cannot be decoded, so that their owner gets a message about them.
_PHONES_AND_WEB = (".heic", ".heif", ".avif", ".jxl", ".svg", ".ico", ".jp2", ".j2k", ".jpe", ".jfif")
_STUDIOS = (".psd", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw")
_SUFFIXES = frozenset((*PICTURE_SUFFIXES, *_PHONES_AND_WEB, *_STUDIOS))

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_ISO_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"})
_MEDIA_TYPES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"RIFF": "image/webp",
    b"BM": "image/bmp",
    b"\x93NUMPY": "application/x-npy",
}
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})


def is_picture_suffix(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in _SUFFIXES


def is_picture_start(start: bytes) -> bool:
    """Whether a file whose first `SNIFFED_BYTES` are `start` claims to be a picture."""
    if start.startswith(_MAGIC):
        return True
    if start[:4] == b"RIFF":
        return start[8:12] == b"WEBP"
    if start[:2] == b"BM":  # two letters alone would match every text that begins with them
        return len(start) == SNIFFED_BYTES and int.from_bytes(start[14:18], "little") in _BMP_HEADER_SIZES
    return start[4:8] == b"ftyp" and start[8:12] in _ISO_BRANDS


def media_type(data: bytes) -> str:
    """The media type of a file that has already been decoded, so that a short look is enough."""
    return next((name for start, name in _MEDIA_TYPES.items() if data.startswith(start)), "text/plain; charset=utf-8")
