"""Reversible text forms of file names, path checks, and file types by name or first bytes.

File names are bytes. Python decodes those that are not UTF-8 to lone surrogates, which databases reject. A *uri*
is a path relative to its folder, with such a byte escaped as `\\xff` and a backslash doubled, so it is reversible.
"""

import os
import posixpath
import re
import stat
import time
from pathlib import Path

from anyseek.indexer.errors import OutsideFolder
from anyseek.model.modalities.reading.containers import is_avif, is_heif, is_jxl, is_raw_start
from anyseek.model.modalities.registry import PICTURE_SUFFIXES

# Two writes within the timestamp resolution of a file system leave the same times. FAT has the coarsest resolution,
# two seconds.
SETTLED_NS = 2_000_000_000
SNIFFED_BYTES = 18
SHARD_SUFFIX = ".tar"

_RAW = (".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2", ".pef", ".srw", ".3fr")
# Pictures that cannot be decoded; they are listed so that their owner gets an error.
_UNSUPPORTED = (".svg", ".ico", ".jp2", ".j2k", ".psd", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr")
_SUFFIXES = frozenset((*PICTURE_SUFFIXES, ".jpe", ".jfif", *_RAW, *_UNSUPPORTED))

# Media types of pictures by magic bytes.
_MEDIA_TYPES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}
_MEDIA_TYPES_BY_KIND = {
    is_heif: "image/heic",
    is_avif: "image/avif",
    is_jxl: "image/jxl",
    is_raw_start: "image/x-raw",  # RAW files with a TIFF header are served as TIFF
}
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})


def to_uri(path: str) -> str:
    """The reversible text form of a path; the path itself where its name is UTF-8 without backslashes."""
    return to_key(path.replace("\\", "\\\\"))


def from_uri(uri: str) -> str:
    """The path of a uri; the inverse of `to_uri`."""

    def unescape(match: re.Match[str]) -> str:
        code = match.group(1)
        return "\\" if code == "\\" else os.fsdecode(bytes.fromhex(code[1:]))

    return re.sub(r"\\(\\|x[0-9a-f]{2})", unescape, uri)


def is_remote(name: str) -> bool:
    """Whether the name is an address such as `s3://bucket/prefix` rather than a path."""
    protocol, mark, _ = name.partition("://")
    return bool(mark) and protocol.isascii() and protocol.replace("+", "").isalnum()


def to_key(path: str) -> str:
    """The path as an item's key: bytes that are not UTF-8 become `\\xff`, everything else stays."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_utf8(path: str) -> bool:
    return to_key(path) == path


def one_line(text: str) -> str:
    """`text` safe to print on one line: control characters and line separators are escaped."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda m: ascii(m.group())[1:-1], text)


def resolve_inside(root: Path, base: str, path: str) -> str:
    """Resolve a `path` written in the folder `base` (relative, "" for the root) to a path relative to `root`.

    Raises `OutsideFolder` for a path that leaves `root` by `..`, as an absolute path or through a link, and for
    one below a symlinked folder.
    """
    relative = posixpath.normpath(posixpath.join(base, path))
    if posixpath.isabs(path) or relative.split("/")[0] in ("..", ".") or not _is_encodable(path):
        raise OutsideFolder(f"{one_line(path)!r} is not a file inside the folder; paths must stay inside it")
    check_inside(root, relative)
    return relative


def check_inside(root: Path, relative: str) -> None:
    """Raises `OutsideFolder` if a link leads out of `root` (a resolved path) or to another folder within it."""
    path = posixpath.join(root, relative)
    folder = posixpath.dirname(path)
    if posixpath.realpath(folder) != folder or not Path(posixpath.realpath(path)).is_relative_to(root):
        raise OutsideFolder(f"{to_uri(relative)} is a link that leads out of its folder; copy the file into the folder")


def _is_encodable(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # a lone surrogate that encodes no byte
        return False


def file_state(path: str) -> str | None:
    """The stamp of a file: its size, mtime and ctime; None if it is missing or was written within `SETTLED_NS`.

    ctime is included because copy tools restore mtime.
    """
    try:
        status = os.stat(path)  # noqa: PTH116, a pathlib.Path for each file is slower
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < SETTLED_NS:
        return None
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def is_picture_suffix(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in _SUFFIXES


def is_picture_start(start: bytes) -> bool:
    """Whether a file whose first `SNIFFED_BYTES` bytes are `start` has the magic bytes of a picture."""
    return _picture_type(start[:SNIFFED_BYTES]) is not None


def media_type(data: bytes) -> str:
    """The media type by magic bytes, for a file that has already been decoded."""
    if data.startswith(b"\x93NUMPY"):
        return "application/x-npy"
    return _picture_type(data[:SNIFFED_BYTES]) or "text/plain; charset=utf-8"


def _picture_type(start: bytes) -> str | None:
    for is_kind, name in _MEDIA_TYPES_BY_KIND.items():
        if is_kind(start):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    if start[:2] == b"BM":  # the magic alone would match any text that begins with BM
        has_header = len(start) == SNIFFED_BYTES and int.from_bytes(start[14:18], "little") in _BMP_HEADER_SIZES
        return "image/bmp" if has_header else None
    return next((name for magic, name in _MEDIA_TYPES.items() if start.startswith(magic)), None)
