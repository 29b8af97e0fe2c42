"""Names of files as texts that can be stored, shown and turned back; paths that must stay inside a folder.

File names are bytes. Python shows those that are not UTF-8 as half surrogate pairs, which no database takes. A *uri*
is a path relative to its folder, such a byte written `\\xff` and a backslash doubled, so that it can be read back.
"""

import os
import posixpath
import re
from pathlib import Path

from anyseek.indexer.errors import OutsideFolder


def to_uri(path: str) -> str:
    """The reversible text form of a path; the path itself where its name is UTF-8 without backslashes."""
    return to_key(path.replace("\\", "\\\\"))


def from_uri(uri: str) -> str:
    """The path of which `to_uri` made `uri`."""
    return re.sub(r"\\(\\|x[0-9a-f]{2})", _unescaped, uri)


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


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    return "\\" if code == "\\" else os.fsdecode(bytes.fromhex(code[1:]))
