"""Telling the catalogue that the files of a source lie somewhere else now."""

import posixpath
from pathlib import Path

from anyseek.indexer.errors import BadSource
from anyseek.indexer.paths import from_uri, is_remote
from anyseek.indexer.sources.base import Source
from anyseek.indexer.sources.folder import FolderSource
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import collections, sources
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.sources import HeldSource
from anyseek.search.settings import Settings

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
