"""A folder as a source of inputs: what in it is a picture, and what is said of each.

Sidecars (`a.json` beside `a.jpg`) and `manifest.jsonl` are described in `indexer.descriptions`.
"""

import contextlib
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from indexer.descriptions import Description, parse_description
from indexer.errors import BadDescription, InputError, InputUnreadable, SourceGone
from indexer.files import read_file, read_start
from indexer.kinds import SNIFFED_BYTES, is_picture_start, is_picture_suffix
from indexer.manifest import MANIFEST, Manifest, PathTable
from indexer.paths import check_inside, from_uri, is_utf8, to_key, to_uri
from indexer.sources.base import Found, Position
from indexer.sources.freshness import is_fresh, version_now
from search.errors import BadInput
from search.settings import Limits

SIDECAR_SUFFIX = ".json"
FOLDER_UNREADABLE = "folder-unreadable"
LOCAL_THREADS = 1


@dataclass(frozen=True)
class Listing:
    """One folder: its path relative to the root ("" for the root itself), and the names in it, sorted."""

    base: str
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    reason: str | None = None  # why it could not be listed


class FolderSource:
    """Implements `Source` for a folder, walked without following links to folders; `skip` is left out.

    A `ref` is a path below `root`, which is resolved.

    Raises `SourceGone` if the folder cannot be listed, at once and whenever that is found later.
    """

    def __init__(self, root: Path, limits: Limits, skip: Path | None = None) -> None:
        self.root = root.resolve()
        self._limits = limits
        self._skip = str(skip.resolve()) if skip else None
        self._identity = _identity(self.root)
        self.check()
        try:
            self._manifest = Manifest(self.root, limits)
        except InputUnreadable as error:
            raise SourceGone(f"the folder {to_uri(str(self.root))} cannot be read: {error}") from error
        self.ignored = 0
        self.threads = LOCAL_THREADS

    @property
    def uri(self) -> str:
        return to_uri(str(self.root))

    def check(self) -> None:
        """Raises `SourceGone` unless the folder is there, readable, and the one it was at first."""
        name = to_uri(str(self.root))
        try:
            with os.scandir(self.root):
                pass
        except FileNotFoundError as error:
            raise SourceGone(f"the folder {name} is gone") from error
        except OSError as error:
            raise SourceGone(f"the folder {name} cannot be read: {error.strerror}") from error
        if _identity(self.root) != self._identity:
            raise SourceGone(f"the folder {name} was replaced by another one while it was read")

    def can_resume(self, position: Position) -> bool:
        return is_fresh(position.version)

    def scan(self, position: Position | None = None) -> Iterator[Found]:
        """As `Source.scan`. The order is that of the names, the files of a folder before its folders."""
        self.ignored = position.ignored if position else 0
        version = position.version if position else version_now()
        parts = self._files_of_modalities()
        for listing in self._walk():
            if listing.reason is not None:
                yield Found(to_uri(listing.base) + "/", to_key(listing.base) + "/", listing.reason, FOLDER_UNREADABLE)
            for path in self._inputs(listing, parts, from_uri(position.place) if position else None):
                yield replace(self._found(path), position=Position(to_uri(path), version, self.ignored))
        yield from self._unmet_lines(parts)
        self.check()

    def describe(self, uri: str) -> Description:
        """What sidecar or manifest say of a file; only which file it is if there is neither.

        Raises `BadDescription`, `OutsideFolder`, `InputUnreadable`, and `BadDescription` if there are both.
        """
        relative = from_uri(uri)
        said = self._manifest.describe(relative)
        sidecar = self._read_sidecar(relative)
        if said and sidecar:
            raise BadDescription(f"{uri} has a sidecar and a line in {MANIFEST}; keep one of them")
        found = said or sidecar or Description()
        return replace(found, file=relative, key=found.key or to_key(relative))

    def open(self, ref: str) -> bytes:
        check_inside(self.root, ref)
        return read_file(self.root / ref, self._limits, to_uri(ref))

    def name(self, ref: str) -> str:
        return to_uri(ref)

    def local(self, ref: str) -> Path | None:
        """Where the file is, unless its path is no text that can be kept."""
        path = self.root / ref
        return path if is_utf8(str(path)) else None

    def input_at(self, location: str) -> str | None:
        return to_uri(location.removeprefix(f"{self.root}/"))

    def _read_sidecar(self, relative: str) -> Description | None:
        path = _sidecar(relative)
        if path == relative or not os.path.lexists(self.root / path):
            return None
        name = to_uri(path)
        data = read_file(self.root / path, self._limits, name)
        description = parse_description(data, self.root, posixpath.dirname(relative), self._limits, name)
        return description if description.file in (None, relative) else None

    def _walk(self) -> Iterator[Listing]:
        """The root and every folder below it, a folder before those in it."""
        waiting = [""]
        while waiting:
            base = waiting.pop()
            listing = self._list(base)
            yield listing
            waiting.extend(posixpath.join(base, name) for name in reversed(listing.folders))

    def _list(self, base: str) -> Listing:
        try:
            with os.scandir(self.root / base) as entries:
                folders, files = self._sorted_names(entries)
        except FileNotFoundError:
            self.check()
            return Listing(base)
        except OSError as error:
            self.check()
            return Listing(
                base, reason=f"the folder {to_uri(base)} cannot be read: {error.strerror}; nothing is pruned"
            )
        return Listing(base, files, folders)

    def _sorted_names(self, entries: Iterator[os.DirEntry[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Folders and files; links to folders are neither, which also ends loops."""
        folders, files = [], []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.path != self._skip:
                    folders.append(entry.name)
            elif not (entry.is_symlink() and posixpath.isdir(entry.path)):
                files.append(entry.name)
        return tuple(sorted(folders)), tuple(sorted(files))

    def _inputs(self, listing: Listing, parts: PathTable, after: str | None) -> Iterator[str]:
        """The pictures in a folder, or those behind `after`, the last path that an earlier scan has told."""
        if after is not None and _is_before(listing.base, after):
            return
        paths = [posixpath.join(listing.base, name) for name in listing.files]
        taken = [path for path in paths if path not in parts and path != MANIFEST and self._is_picture(path)]
        here = after is not None and posixpath.dirname(after) == listing.base
        if not here:  # counted when `after` was told
            used = {*taken, *map(_sidecar, taken), MANIFEST}
            self.ignored += sum(path not in used and path not in parts for path in paths)
        yield from (path for path in taken if not here or path > str(after))

    def _is_picture(self, path: str) -> bool:
        """By its name, by being in the manifest, or by its first bytes; what cannot be looked into is none."""
        if is_picture_suffix(path) or self._manifest.names(path):
            return True
        with contextlib.suppress(InputError):
            return is_picture_start(read_start(self.root / path, SNIFFED_BYTES, path))
        return False

    def _found(self, path: str) -> Found:
        try:
            return Found(to_uri(path), self.describe(to_uri(path)).key or "")
        except BadInput as error:
            return Found(to_uri(path), to_key(path), str(error), error.code)

    def _unmet_lines(self, parts: PathTable) -> Iterator[Found]:
        """Lines of the manifest that are wrong or whose file the walk has not met."""
        for line in self._manifest.lines():
            if line.error or not line.description or not line.description.file:
                yield Found(line.name, line.name, str(line.error), line.error.code if line.error else "")
            elif line.description.file in parts:
                reason = f"{line.name}: the file belongs to another item already, as a further modality"
                yield Found(line.name, line.name, reason, BadDescription.code)
            elif not posixpath.isfile(self.root / line.description.file):
                yield self._found(line.description.file)

    def _files_of_modalities(self) -> PathTable:
        """The files that belong to other files' items."""
        parts = PathTable()
        for line in self._manifest.lines():
            _add_parts(parts, line.description)
        for listing in self._walk():
            sidecars = {name for name in listing.files if name.endswith(SIDECAR_SUFFIX)}
            described = [name for name in listing.files if name not in sidecars and _sidecar(name) in sidecars]
            for name in described:
                with contextlib.suppress(BadInput):  # told when the file itself is met
                    _add_parts(parts, self._read_sidecar(posixpath.join(listing.base, name)))
        return parts


def _add_parts(parts: PathTable, description: Description | None) -> None:
    for file in description.modalities.values() if description else ():
        parts.add(file.path)


def _is_before(base: str, after: str) -> bool:
    """Whether every file in the folder `base` comes before the file `after`, which lies in another one."""
    folders, others = (path.split("/") if path else [] for path in (base, posixpath.dirname(after)))
    return folders < others


def _sidecar(path: str) -> str:
    return posixpath.splitext(path)[0] + SIDECAR_SUFFIX


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
