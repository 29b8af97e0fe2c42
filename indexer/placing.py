"""Where a folder belongs that a collection has not seen yet: it may be one that has moved, or need a prefix of keys.

A folder has **moved** if another source of the collection is gone and at least half of its items are found in the new
folder, at the same paths and with as many bytes; some are read and must have the same bytes. The source then has the
new place, and its items stay what they are.

Keys **clash** if an item with that key came from elsewhere and is not the same file at another place. Then the keys of
the new folder get its name as their prefix.
"""

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from anyseek.indexer.errors import BadSource
from anyseek.indexer.paths import from_uri, is_remote, to_key
from anyseek.indexer.sources.base import Source, pages
from anyseek.indexer.sources.folder import FolderSource
from anyseek.indexer.sources.opening import open_source
from anyseek.model.files import file_digest
from anyseek.search.catalogue import collections, duplicates, items, sources
from anyseek.search.catalogue.duplicates import Picture
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.sources import HeldSource, SourceHeld
from anyseek.search.errors import BadInput
from anyseek.search.filters.tree import is_storable
from anyseek.search.settings import Settings
from anyseek.search.types import Collection

PREFIX_CHARACTERS = 200
_READ = 16  # files whose bytes are compared before a folder counts as moved


@dataclass(frozen=True)
class Placement:
    """How a source came into a collection: the prefix of its keys, and where it was before if it has moved."""

    key_prefix: str
    moved_from: str | None = None
    clash: str | None = None  # a key that another source has, for which the prefix was chosen


def place(database: Database, collection: Collection, source: Source, key_prefix: str | None = None) -> Placement:
    """Make `source` one of the collection's, unless it is already; without a `key_prefix` it is chosen as told above.

    Raises `SourceHeld` if the collection has the source with another prefix, or a moved one is being indexed, and
    `SourceGone`.
    """
    with database.read() as session:
        others = sources.list_of(session, collection)
        has_items = bool(others) or collections.count(session, collection.id) > 0
    known = next((other for other in others if other.root == source.uri), None)
    if known is not None:
        if key_prefix not in (None, known.key_prefix):
            prefix = repr(known.key_prefix) if known.key_prefix else "no prefix"
            raise SourceHeld(
                f"the keys of {known.root} have {prefix} in this collection; forget the source to give another"
            )
        return Placement(known.key_prefix)
    chosen = Placement(key_prefix or "")
    if key_prefix is None and has_items and isinstance(source, FolderSource):
        chosen = _chosen(database, collection, source, others)
    with database.write() as session:
        if chosen.moved_from is not None:
            before = next(other for other in others if other.root == chosen.moved_from)
            sources.move(session, collection, before.id, source.uri, (from_uri(before.root), from_uri(source.uri)))
        else:
            sources.ensure(session, collection, source.uri, chosen.key_prefix)
    return chosen


def _chosen(
    database: Database, collection: Collection, source: FolderSource, others: Sequence[HeldSource]
) -> Placement:
    with database.read() as session:
        for other in others:
            if _has_moved(session, collection, other, source.root):
                return Placement(other.key_prefix, moved_from=other.root)
    clash = next(_clashes(database, collection, source), None)
    prefix = "" if clash is None else _free_prefix(database, collection, source.root, others)
    return Placement(prefix, clash=clash)


def _has_moved(session: Session, collection: Collection, other: HeldSource, root: Path) -> bool:
    """Whether a source was a folder that is not there now, and at least half of its files lie in `root`."""
    folder = from_uri(other.root)
    was_folder = any(place.startswith(f"{folder}/") for place in sources.locations(session, other.id, 1))
    if not was_folder or os.path.lexists(folder):
        return False
    count, are_equal = 0, list[bool]()
    for keys in items.keys_of_source(session, other.id):
        for picture in duplicates.pictures_of_keys(session, collection, keys).values():
            path = root / posixpath.relpath(picture.location or folder, folder)
            if _size(path) == picture.size_bytes:
                count += 1
                if len(are_equal) < _READ:
                    are_equal.append(_digest(path) == picture.sha256)
    return 2 * count >= other.items and 2 * sum(are_equal) > len(are_equal)


def _clashes(database: Database, collection: Collection, source: FolderSource) -> Iterator[str]:
    """Keys in a new folder that other items of the collection have."""
    for page in pages(found for found in source.scan() if found.reason is None):
        paths = {found.key: source.root / from_uri(found.uri) for found in page}
        with database.read() as session:
            pictures = duplicates.pictures_of_keys(session, collection, list(paths))
        yield from (key for key, picture in pictures.items() if not _is_of(picture, paths[key]))


def _is_of(picture: Picture, path: Path) -> bool:
    """Whether an item may be given to the file at `path`, as it has the same bytes and none of its own."""
    return picture.is_free_for(path) and _size(path) == picture.size_bytes and _digest(path) == picture.sha256


def _free_prefix(database: Database, collection: Collection, root: Path, others: Sequence[HeldSource]) -> str:
    """The name of the folder, with those of the folders above it as far as another source has that prefix."""
    taken = {other.key_prefix for other in others}
    steps = [to_key(step) for step in root.parts[1:]] or ["root"]
    with database.read() as session:
        for first in range(len(steps) - 1, -1, -1):
            prefix = "/".join(steps[first:]) + "/"
            if prefix not in taken and not duplicates.any_begins_with(session, collection, prefix):
                return prefix
    return "/".join(steps) + "/"


def _digest(path: Path) -> str | None:
    try:
        return file_digest(path)
    except OSError:
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


_LOOKED_FOR = 100  # files of a source, to tell whether it is the same one


def move_source(database: Database, settings: Settings, collection: str, root: str, to: str) -> HeldSource:
    """Give the source `root` of a collection the place `to`, and return it; nothing is read again.

    Raises `CollectionNotFound`, `SourceNotFound`, `SourceHeld`, `SourceGone` if nothing is at `to`, and `BadSource` if
    none of the first files of its items is there.
    """
    source = open_source(settings, to)
    if is_remote(root) or is_remote(source.uri):
        raise BadSource(f"{root if is_remote(root) else source.uri} is an address; only files on this machine move")
    folders = _folder(root, source), _folder(source.uri, source)
    with database.read() as session:
        held = collections.get(session, collection)
        found = sources.find(session, held, root)
        known = sources.locations(session, found.id, _LOOKED_FOR)
    relative = [posixpath.relpath(location, folders[0]) for location in known]
    if known and not any(Path(folders[1], path).is_file() for path in relative):
        raise BadSource(f"{source.uri} has no file {relative[0]}, which is one of {root}; give the folder that has it")
    with database.write() as session:
        sources.move(session, held, found.id, source.uri, folders)
        return sources.find(session, held, source.uri)


def _folder(root: str, source: Source) -> str:
    """The folder below which the files of a source lie, of the same kind as `source`."""
    path = from_uri(root)
    return path if isinstance(source, FolderSource) else posixpath.dirname(path)


def read_prefix(given: str) -> str:
    """The prefix that a user gives, with one slash at its end, or "" for none.

    Raises `BadInput` for one that is too long or not Unicode text.
    """
    if len(given) > PREFIX_CHARACTERS or not is_storable(given):
        raise BadInput(
            f"{given[:40]!r} cannot be a prefix of keys; use up to {PREFIX_CHARACTERS} characters of Unicode text"
        )
    return f"{given.strip('/')}/" if given.strip("/") else ""
