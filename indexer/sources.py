"""A folder as a source of inputs: what in it is a picture, and what is said of each.

Sidecars (`a.json` beside `a.jpg`) and `manifest.jsonl` are described in `indexer.descriptions`.
"""

import contextlib
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexer.descriptions import Description, parse_description
from indexer.errors import BadDescription, InputError, InputUnreadable, SourceGone
from indexer.files import read_file, read_start
from indexer.kinds import SNIFFED_BYTES, is_picture_start, is_picture_suffix
from indexer.manifest import MANIFEST, Manifest, PathTable
from indexer.paths import to_key, to_uri
from search.errors import BadInput
from search.settings import Limits

SIDECAR_SUFFIX = ".json"
FOLDER_UNREADABLE = "folder-unreadable"


@dataclass(frozen=True)
class Found:
    """What a scan met: an input to index, or with `reason` one that cannot be."""

    uri: str
    key: str
    reason: str | None = None
    reason_code: str | None = None


@dataclass(frozen=True)
class Listing:
    """One folder: its path relative to the root ("" for the root itself), and the names in it, sorted."""

    base: str
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    reason: str | None = None  # why it could not be listed


class FolderSource:
    """A folder that is walked without following links to folders. `root` is resolved; `skip` is left out.

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

    def scan(self) -> Iterator[Found]:
        """Every input; counts the files that are none in `ignored`. The order is that of the names."""
        self.ignored = 0
        parts = self._files_of_modalities()
        for listing in self._walk():
            if listing.reason is not None:
                yield Found(to_uri(listing.base) + "/", to_key(listing.base) + "/", listing.reason, FOLDER_UNREADABLE)
            yield from self._inputs(listing, parts)
        yield from self._unmet_lines(parts)
        self.check()

    def path(self, relative: str) -> Path:
        return self.root / relative

    def describe(self, relative: str) -> Description:
        """What sidecar or manifest say of a file; nothing if there is neither.

        Raises `BadDescription`, `OutsideFolder`, `InputUnreadable`, and `BadDescription` if there are both.
        """
        said = self._manifest.describe(relative)
        sidecar = self._read_sidecar(relative)
        if said and sidecar:
            raise BadDescription(f"{to_uri(relative)} has a sidecar and a line in {MANIFEST}; keep one of them")
        return said or sidecar or Description()

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

    def _inputs(self, listing: Listing, parts: PathTable) -> Iterator[Found]:
        paths = [posixpath.join(listing.base, name) for name in listing.files]
        taken = [path for path in paths if path not in parts and path != MANIFEST and self._is_picture(path)]
        used = {*taken, *map(_sidecar, taken), MANIFEST}
        self.ignored += sum(path not in used and path not in parts for path in paths)
        for path in taken:
            yield self._found(path)

    def _is_picture(self, path: str) -> bool:
        """By its name, by being in the manifest, or by its first bytes; what cannot be looked into is none."""
        if is_picture_suffix(path) or self._manifest.names(path):
            return True
        with contextlib.suppress(InputError):
            return is_picture_start(read_start(self.root / path, SNIFFED_BYTES, path))
        return False

    def _found(self, path: str) -> Found:
        try:
            return Found(to_uri(path), self.describe(path).key or to_key(path))
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


def _sidecar(path: str) -> str:
    return posixpath.splitext(path)[0] + SIDECAR_SUFFIX


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
