"""Names of files as texts that can be stored, shown and turned back; what a file is by its name or first bytes.

File names are bytes. Python shows those that are not UTF-8 as half surrogate pairs, which no database takes. A *uri*
is a path relative to its folder, such a byte written `\\xff` and a backslash doubled, so that it can be read back.
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

# A file that is written twice within the steps of a file system's clock has the same times after both. FAT's steps are
# the longest, two seconds.
SETTLED_NS = 2_000_000_000
SNIFFED_BYTES = 18
SHARD_SUFFIX = ".tar"

_RAW = (".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2", ".pef", ".srw", ".3fr")
# Pictures that cannot be decoded, so that their owner gets a message about them.
_OTHERS = (".svg", ".ico", ".jp2", ".j2k", ".psd", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr")
_SUFFIXES = frozenset((*PICTURE_SUFFIXES, ".jpe", ".jfif", *_RAW, *_OTHERS))

# Types of pictures, and by what their files begin.
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
    is_raw_start: "image/x-raw",  # those that begin as TIFF go as TIFF
}
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})


def to_uri(path: str) -> str:
    """The reversible text form of a path; the path itself where its name is UTF-8 without backslashes."""
    return to_key(path.replace("\\", "\\\\"))


def from_uri(uri: str) -> str:
    """The path of which `to_uri` made `uri`."""

    def unescaped(match: re.Match[str]) -> str:
        code = match.group(1)
        return "\\" if code == "\\" else os.fsdecode(bytes.fromhex(code[1:]))

    return re.sub(r"\\(\\|x[0-9a-f]{2})", unescaped, uri)


def is_remote(name: str) -> bool:
    """Whether it is an address such as `s3://bucket/prefix` rather than a path."""
    protocol, mark, _ = name.partition("://")
    return bool(mark) and protocol.isascii() and protocol.replace("+", "").isalnum()


def to_key(path: str) -> str:
    """The path as an item's key: bytes that are not UTF-8 become `\\xff`, everything else stays."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_utf8(path: str) -> bool:
    return to_key(path) == path


def one_line(text: str) -> str:
    """`text` as it can be printed: characters that steer a terminal or break the line become escapes."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda m: ascii(m.group())[1:-1], text)


def inside(root: Path, base: str, path: str) -> str:
    """The path relative to `root` of `path`, which was written in the folder `base` (relative, "" for the root).

    Raises `OutsideFolder` for what leads out of `root`, by `..`, as an absolute path or through a link, and for
    what lies behind a link to a folder.
    """
    relative = posixpath.normpath(posixpath.join(base, path))
    if posixpath.isabs(path) or relative.split("/")[0] in ("..", ".") or not _can_name_a_file(path):
        raise OutsideFolder(f"{one_line(path)!r} is not a file inside the folder; paths must stay inside it")
    check_inside(root, relative)
    return relative


def check_inside(root: Path, relative: str) -> None:
    """Raises `OutsideFolder` if a link leads out of `root` (a resolved path) or to another folder within it."""
    path = posixpath.join(root, relative)
    folder = posixpath.dirname(path)
    if posixpath.realpath(folder) != folder or not Path(posixpath.realpath(path)).is_relative_to(root):
        raise OutsideFolder(f"{to_uri(relative)} is a link that leads out of its folder; copy the file into the folder")


def _can_name_a_file(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half a surrogate pair that stands for no byte
        return False


def file_state(path: str) -> str | None:
    """The size of a file, and when its content and its entry were last changed; None if it has just been written.

    The second time cannot be set back, as tools that copy files set back the first.
    """
    try:
        found = os.stat(path)  # noqa: PTH116, a pathlib.Path for each file of a library takes longer
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) or time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < SETTLED_NS:
        return None
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}"


def is_picture_suffix(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in _SUFFIXES


def is_picture_start(start: bytes) -> bool:
    """Return whether a file whose first `SNIFFED_BYTES` are `start` claims to be a picture."""
    return _picture_type(start[:SNIFFED_BYTES]) is not None


def media_type(data: bytes) -> str:
    """The media type of a file that has already been decoded, so that a short look is enough."""
    if data.startswith(b"\x93NUMPY"):
        return "application/x-npy"
    return _picture_type(data[:SNIFFED_BYTES]) or "text/plain; charset=utf-8"


def _picture_type(start: bytes) -> str | None:
    for is_kind, name in _MEDIA_TYPES_BY_KIND.items():
        if is_kind(start):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    if start[:2] == b"BM":  # two letters alone would match every text that begins with them
        has_header = len(start) == SNIFFED_BYTES and int.from_bytes(start[14:18], "little") in _BMP_HEADER_SIZES
        return "image/bmp" if has_header else None
    return next((name for magic, name in _MEDIA_TYPES.items() if start.startswith(magic)), None)
