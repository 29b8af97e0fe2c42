"""The kind of a file, by its name or by its first bytes."""

import posixpath

from anyseek.model.modalities.reading.containers import is_avif, is_heif, is_jxl
from anyseek.model.modalities.reading.raw import is_raw_start
from anyseek.model.modalities.registry import PICTURE_SUFFIXES

SNIFFED_BYTES = 18
SHARD_SUFFIX = ".tar"

_RAW = (".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2", ".pef", ".srw", ".3fr")
# Pictures that cannot be decoded, so that their owner gets a message about them.
_OTHERS = (".svg", ".ico", ".jp2", ".j2k", ".psd", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr")
_SUFFIXES = frozenset((*PICTURE_SUFFIXES, ".jpe", ".jfif", *_RAW, *_OTHERS))

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
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
_MEDIA_TYPES_BY_KIND = {
    is_heif: "image/heic",
    is_avif: "image/avif",
    is_jxl: "image/jxl",
    is_raw_start: "image/x-raw",  # those that begin as TIFF go as TIFF
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
    return is_heif(start) or is_avif(start) or is_jxl(start) or is_raw_start(start)


def media_type(data: bytes) -> str:
    """The media type of a file that has already been decoded, so that a short look is enough."""
    for is_kind, name in _MEDIA_TYPES_BY_KIND.items():
        if is_kind(data):
            return name
    return next((name for start, name in _MEDIA_TYPES.items() if data.startswith(start)), "text/plain; charset=utf-8")
