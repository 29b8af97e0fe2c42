"""A folder as a source of inputs: its pictures and their descriptions.

Sidecars (`a.json` beside `a.jpg`) and `manifest.jsonl` are described in `anyseek.indexer.sources.base`. The lines of
the manifest are not kept in memory, only 24 bytes of index for each, so it may have millions.
"""

import contextlib
import hashlib
import os
import posixpath
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from anyseek.indexer.errors import BadDescription, InputError, SourceGone
from anyseek.indexer.paths import (
    SNIFFED_BYTES,
    check_inside,
    file_state,
    from_uri,
    is_picture_start,
    is_picture_suffix,
    is_utf8,
    to_key,
    to_uri,
)
from anyseek.indexer.sources.base import (
    SIDECAR_SUFFIX,
    Description,
    Source,
    SourceInput,
    json_object,
    parse_description_in,
    sidecar_of,
)
from anyseek.indexer.sources.rows import JsonLines, Row
from anyseek.model.modalities.reading.encoded import open_file, read_file, read_start
from anyseek.search.errors import BadInput
from anyseek.search.settings import Limits

MANIFEST = "manifest.jsonl"
FOLDER_UNREADABLE = "folder-unreadable"


@dataclass(frozen=True)
class FolderListing:
    """One folder: its path relative to the root ("" for the root itself), and the names in it, sorted."""

    base: str
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    reason: str | None = None  # why listing failed


class PathTable:
    """Maps paths to numbers, keeping eight bytes of each path's hash; add paths first, then look them up."""

    def __init__(self) -> None:
        self._digests, self._numbers = array("Q"), array("Q")
        self._sorted: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, path: str, number: int = 0) -> None:
        self._digests.append(_digest(path))
        self._numbers.append(number)
        self._sorted = None

    def find(self, path: str) -> list[int]:
        """The numbers under which `path` was added, in that order."""
        if not self._numbers:
            return []
        digests, numbers = self._sort()
        digest = np.uint64(_digest(path))
        first, last = np.searchsorted(digests, digest, "left"), np.searchsorted(digests, digest, "right")
        return [int(number) for number in numbers[first:last]]

    def __contains__(self, path: str) -> bool:
        return bool(self.find(path))

    def _sort(self) -> tuple[np.ndarray, np.ndarray]:
        if self._sorted is None:
            digests = np.array(self._digests, np.uint64)
            order = np.argsort(digests, kind="stable")
            self._sorted = digests[order], np.array(self._numbers, np.uint64)[order]
        return self._sorted


class Manifest:
    """The manifest of a folder, empty if there is none. Raises `InputUnreadable` if it cannot be read."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root, self._limits = root, limits
        self._exists = posixpath.exists(root / MANIFEST)
        self._table = JsonLines(self._open, MANIFEST)
        self._offsets = PathTable()
        for row, description in self.lines():
            if isinstance(description, Description) and description.file:
                self._offsets.add(description.file, int(row.place.partition("@")[2]))

    def lines(self) -> Iterator[tuple[Row, Description | InputError]]:
        """Every line that is not blank, with its description or the error of parsing it."""
        for row in self._table.rows() if self._exists else ():
            try:
                yield row, self._describe(row, f"line {row.number}")
            except InputError as error:
                yield row, error

    def has_line_for(self, file: str) -> bool:
        """Whether a line describes `file`."""
        return file in self._offsets

    def describe(self, file: str) -> Description | None:
        """Return the manifest's description of `file`. Raises `BadDescription` for several lines, or if it changed."""
        offsets = self._offsets.find(file)
        if not offsets:
            return None
        if len(offsets) > 1:
            raise BadDescription(f"{MANIFEST} has {len(offsets)} lines for {file!r}; keep one")
        description = self._describe(self._table.row(f"0@{offsets[0]}"), f"the line of {file!r}")
        if description.file != file:
            raise BadDescription(f"{MANIFEST} was changed while it was read; index the folder again")
        return description

    def _open(self) -> BinaryIO:
        """Open the manifest. Raises `InputUnreadable`, `InputVanished`, `OutsideFolder`."""
        check_inside(self._root, MANIFEST)
        return open_file(self._root / MANIFEST, MANIFEST)

    def _describe(self, row: Row, name: str) -> Description:
        if row.fields is None:
            raise BadDescription(f"{MANIFEST}, {name}: {row.error}")
        description = parse_description_in(row.fields, self._root, "", self._limits, f"{MANIFEST}, {name}")
        if description.file is None:
            raise BadDescription(f"{MANIFEST}, {name}: the field 'file' is missing; it must name the picture")
        return description


class FolderSource(Source):
    """A folder, walked without following links to folders; `skip` is left out.

    A `ref` is a path below `root`, which is resolved.

    Raises `SourceGone` if the folder cannot be listed, in the constructor and in any later call.
    """

    def __init__(self, root: Path, limits: Limits, skip: Path | None = None) -> None:
        self.root = root.resolve()
        self._base = str(self.root / "_")[:-1]  # joining strings is much faster than joining paths
        self._limits = limits
        self._skip = str(skip.resolve()) if skip else None
        self._identity = _identity(self.root)
        self.check()
        try:
            self._manifest = Manifest(self.root, limits)
        except InputError as error:
            raise SourceGone(f"the folder {to_uri(str(self.root))} cannot be read: {error}") from error

    @property
    def uri(self) -> str:
        return to_uri(str(self.root))

    def check(self) -> None:
        """Raises `SourceGone` unless the folder exists, is readable and is still the same one (device and inode)."""
        name = to_uri(str(self.root))
        try:
            with os.scandir(self.root):
                pass
        except FileNotFoundError as error:
            raise SourceGone(f"the folder {name} is gone") from error
        except OSError as error:
            raise SourceGone(f"the folder {name} cannot be read: {error.strerror}") from error
        if _identity(self.root) != self._identity:
            raise SourceGone(f"the folder {name} was replaced by another folder during the scan")

    def scan(self) -> Iterator[SourceInput]:
        """See `Source.scan`. Ordered by name; the files of a folder come before its subfolders."""
        self.ignored = 0
        extras = self._modality_files()
        for listing in self._walk():
            if listing.reason is not None:
                uri, key = f"{to_uri(listing.base)}/", f"{to_key(listing.base)}/"
                yield SourceInput(uri, key, listing.reason, FOLDER_UNREADABLE)
            yield from map(self._input, self._inputs(listing, extras))
        yield from self._unmatched_lines(extras)
        self.check()

    def describe(self, uri: str) -> Description:
        """The description of a file from its sidecar or the manifest; without either, only its path and key.

        Raises `BadDescription`, `OutsideFolder`, `InputUnreadable`, and `BadDescription` if there are both.
        """
        relative = from_uri(uri)
        description = self._manifest.describe(relative)
        sidecar = self._read_sidecar(relative)
        if description and sidecar:
            raise BadDescription(f"{uri} has both a sidecar and a line in {MANIFEST}; keep one of them")
        chosen = description or sidecar
        if chosen is None:
            return Description(relative, to_key(relative))
        return replace(chosen, file=relative, key=chosen.key or to_key(relative))

    def read(self, ref: str) -> bytes:
        check_inside(self.root, ref)
        return read_file(self.root / ref, self._limits, to_uri(ref))

    def state(self, ref: str) -> str | None:
        return file_state(f"{self._base}{ref}")

    def local_path(self, ref: str) -> Path | None:
        """The path of the file, or None if it is not UTF-8 and so cannot be stored."""
        path = self.root / ref
        return path if is_utf8(str(path)) else None

    def uri_at(self, location: str) -> str | None:
        return to_uri(location.removeprefix(f"{self.root}/"))

    def _read_sidecar(self, relative: str) -> Description | None:
        path = sidecar_of(relative)
        if path == relative or not os.path.lexists(f"{self._base}{path}"):
            return None
        name = to_uri(path)
        check_inside(self.root, path)
        data = read_file(self.root / path, self._limits, name)
        fields = json_object(data, name)
        description = parse_description_in(fields, self.root, posixpath.dirname(relative), self._limits, name)
        return description if description.file in (None, relative) else None

    def _walk(self) -> Iterator[FolderListing]:
        """Yield the root and every folder below it in preorder."""
        stack = [""]
        while stack:
            base = stack.pop()
            listing = self._list(base)
            yield listing
            stack.extend(posixpath.join(base, name) for name in reversed(listing.folders))

    def _list(self, base: str) -> FolderListing:
        try:
            with os.scandir(self.root / base) as entries:
                folders, files = self._sorted_names(entries)
        except FileNotFoundError:
            self.check()
            return FolderListing(base)
        except OSError as error:
            self.check()
            return FolderListing(
                base, reason=f"the folder {to_uri(base)} cannot be read: {error.strerror}; nothing is pruned"
            )
        return FolderListing(base, files, folders)

    def _sorted_names(self, entries: Iterator[os.DirEntry[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of folders and files; links to folders are skipped, which also prevents loops."""
        folders, files = [], []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.path != self._skip:
                    folders.append(entry.name)
            elif not (entry.is_symlink() and posixpath.isdir(entry.path)):
                files.append(entry.name)
        return tuple(sorted(folders)), tuple(sorted(files))

    def _inputs(self, listing: FolderListing, extras: PathTable) -> list[str]:
        """The paths of pictures in a folder; other files are counted as ignored."""
        paths = [posixpath.join(listing.base, name) for name in listing.files]
        pictures = [path for path in paths if path not in extras and path != MANIFEST and self._is_picture(path)]
        used = {*pictures, *map(sidecar_of, pictures), MANIFEST}
        self.ignored += sum(path not in used and path not in extras for path in paths)
        return pictures

    def _is_picture(self, path: str) -> bool:
        """Whether a file is a picture, by its name, the manifest, or its first bytes; an unreadable file is not."""
        if is_picture_suffix(path) or self._manifest.has_line_for(path):
            return True
        with contextlib.suppress(InputError):
            return is_picture_start(read_start(self.root / path, SNIFFED_BYTES, path))
        return False

    def _input(self, path: str) -> SourceInput:
        uri = to_uri(path)
        try:
            description = self.describe(uri)
            return SourceInput(uri, description.key or "", description=description)
        except BadInput as error:
            return SourceInput(uri, to_key(path), str(error), error.code)

    def _unmatched_lines(self, extras: PathTable) -> Iterator[SourceInput]:
        """Yield invalid lines of the manifest, and lines whose file does not exist or belongs to another item."""
        for row, description in self._manifest.lines():
            name = f"{MANIFEST}:{row.number}"
            if isinstance(description, InputError):
                yield SourceInput(name, name, str(description), description.code)
                continue
            file = str(description.file)
            if file in extras:
                reason = (
                    f"{name}: the file already belongs to another item, as one of its modalities; remove one of the two"
                )
                yield SourceInput(name, name, reason, BadDescription.code)
            elif not posixpath.isfile(self.root / file):
                yield self._input(file)

    def _modality_files(self) -> PathTable:
        """The files that descriptions name as modalities of other pictures."""
        extras = PathTable()
        for _, description in self._manifest.lines():
            _add_extras(extras, description if isinstance(description, Description) else None)
        for listing in self._walk():
            sidecars = {name for name in listing.files if name.endswith(SIDECAR_SUFFIX)}
            described = [name for name in listing.files if name not in sidecars and sidecar_of(name) in sidecars]
            for name in described:
                with contextlib.suppress(BadInput):  # reported with the picture itself
                    _add_extras(extras, self._read_sidecar(posixpath.join(listing.base, name)))
        return extras


def _add_extras(extras: PathTable, description: Description | None) -> None:
    for file in description.modalities.values() if description else ():
        extras.add(file.path)


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _digest(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
