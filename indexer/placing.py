"""Placement of a new folder in a collection: it may be a moved source, or need a key prefix.

A source has **moved** if its folder is gone and at least half of its items are in the new folder, at the same relative
paths and with the same sizes; of some the content is compared, too. The source then gets the new location, and its
items stay unchanged.

Keys **clash** if an item with that key came from another source and is not the same file at another path. Then the
keys of the new folder are prefixed with its name.
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
from anyseek.search.catalogue.sources import SourceBusy, SourceInfo
from anyseek.search.errors import BadInput
from anyseek.search.filters.tree import is_storable
from anyseek.search.settings import Settings
from anyseek.search.types import Collection

PREFIX_CHARACTERS = 200
_MAX_DIGESTS = 16  # files whose content is compared before a source counts as moved


@dataclass(frozen=True)
class Placement:
    """The placement of a source in a collection: its key prefix, and its former root if it has moved."""

    key_prefix: str
    moved_from: str | None = None
    clash: str | None = None  # a key of another source, the reason for the prefix


def place_source(database: Database, collection: Collection, source: Source, key_prefix: str | None) -> Placement:
    """Add `source` to the collection, if it is new; without a `key_prefix` one is chosen (see the module docstring).

    Raises `SourceBusy` if the collection has the source with another prefix, or a moved source is being indexed, and
    `SourceGone`.
    """
    with database.read() as session:
        others = sources.list_sources(session, collection)
        has_items = bool(others) or collections.count(session, collection.id) > 0
    known = next((other for other in others if other.root == source.uri), None)
    if known is not None:
        if key_prefix not in (None, known.key_prefix):
            prefix = repr(known.key_prefix) if known.key_prefix else "no prefix"
            raise SourceBusy(
                f"the keys of {known.root} have {prefix} in this collection; forget the source to use another prefix"
            )
        return Placement(known.key_prefix)
    placement = Placement(key_prefix or "")
    if key_prefix is None and has_items and isinstance(source, FolderSource):
        placement = _choose_placement(database, collection, source, others)
    with database.write() as session:
        if placement.moved_from is not None:
            before = next(other for other in others if other.root == placement.moved_from)
            sources.move(session, collection, before.id, source.uri, (from_uri(before.root), from_uri(source.uri)))
        else:
            sources.ensure(session, collection, source.uri, placement.key_prefix)
    return placement


def _choose_placement(
    database: Database, collection: Collection, source: FolderSource, others: Sequence[SourceInfo]
) -> Placement:
    with database.read() as session:
        for other in others:
            if _has_moved(session, collection, other, source.root):
                return Placement(other.key_prefix, moved_from=other.root)
    clash = next(_clashing_keys(database, collection, source), None)
    prefix = "" if clash is None else _free_prefix(database, collection, source.root, others)
    return Placement(prefix, clash=clash)


def _has_moved(session: Session, collection: Collection, other: SourceInfo, root: Path) -> bool:
    """Whether a source was a folder that is gone, and at least half of its files are in `root`."""
    folder = from_uri(other.root)
    was_folder = any(path.startswith(f"{folder}/") for path in sources.sample_locations(session, other.id, 1))
    if not was_folder or os.path.lexists(folder):
        return False
    count, matches = 0, list[bool]()
    for keys in items.keys_of_source(session, other.id):
        for picture in duplicates.pictures_of_keys(session, collection, keys).values():
            path = root / posixpath.relpath(picture.location or folder, folder)
            if _size(path) == picture.size_bytes:
                count += 1
                if len(matches) < _MAX_DIGESTS:
                    matches.append(_digest(path) == picture.sha256)
    return 2 * count >= other.items and 2 * sum(matches) > len(matches)


def _clashing_keys(database: Database, collection: Collection, source: FolderSource) -> Iterator[str]:
    """Yield the keys in a new folder that other items of the collection already have."""
    for page in pages(found for found in source.scan() if found.reason is None):
        paths = {found.key: source.root / from_uri(found.uri) for found in page}
        with database.read() as session:
            pictures = duplicates.pictures_of_keys(session, collection, list(paths))
        yield from (key for key, picture in pictures.items() if not _is_same_file(picture, paths[key]))


def _is_same_file(picture: Picture, path: Path) -> bool:
    """Whether the item's own file is gone and the file at `path` has the same content."""
    return picture.is_free_for(path) and _size(path) == picture.size_bytes and _digest(path) == picture.sha256


def _free_prefix(database: Database, collection: Collection, root: Path, others: Sequence[SourceInfo]) -> str:
    """The folder's name as an unused prefix, extended by parent folders as long as it is in use."""
    used = {other.key_prefix for other in others}
    steps = [to_key(step) for step in root.parts[1:]] or ["root"]
    with database.read() as session:
        for first in range(len(steps) - 1, -1, -1):
            prefix = "/".join(steps[first:]) + "/"
            if prefix not in used and not duplicates.has_key_with_prefix(session, collection, prefix):
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


_MAX_PROBES = 100  # files of a source that are checked after a move


def move_source(database: Database, settings: Settings, collection: str, root: str, to: str) -> SourceInfo:
    """Change the location of the source `root` of a collection to `to`, and return it; nothing is indexed again.

    Raises `CollectionNotFound`, `SourceNotFound`, `SourceBusy`, `SourceGone` if `to` does not exist, and `BadSource` if
    none of its first files is there.
    """
    source = open_source(settings, to)
    if is_remote(root) or is_remote(source.uri):
        raise BadSource(f"{root if is_remote(root) else source.uri} is an address; only local sources can be moved")
    folders = _base_folder(root, source), _base_folder(source.uri, source)
    with database.read() as session:
        held = collections.get(session, collection)
        found = sources.find(session, held, root)
        known = sources.sample_locations(session, found.id, _MAX_PROBES)
    relative = [posixpath.relpath(location, folders[0]) for location in known]
    if known and not any(Path(folders[1], path).is_file() for path in relative):
        raise BadSource(f"{source.uri} has no file {relative[0]}, which {root} has; name the folder that contains it")
    with database.write() as session:
        sources.move(session, held, found.id, source.uri, folders)
        return sources.find(session, held, source.uri)


def _base_folder(root: str, source: Source) -> str:
    """The folder that the paths of a source are relative to; `root` is of the same kind as `source`."""
    path = from_uri(root)
    return path if isinstance(source, FolderSource) else posixpath.dirname(path)


def parse_prefix(prefix: str) -> str:
    """Normalise a key prefix from a user: it ends with one slash, or is "" for none.

    Raises `BadInput` if it is too long or not valid Unicode.
    """
    if len(prefix) > PREFIX_CHARACTERS or not is_storable(prefix):
        raise BadInput(
            f"{prefix[:40]!r} is not a valid key prefix; use up to {PREFIX_CHARACTERS} characters of Unicode text"
        )
    return f"{prefix.strip('/')}/" if prefix.strip("/") else ""
