"""The backend in this process: FAISS or NumPy over vectors in memory, with snapshots in the data directory."""

import logging
import shutil
from functools import partial
from pathlib import Path

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Index, Settings
from anyseek.search.spaces.filter_cache import FilterCache
from anyseek.search.spaces.local.candidates import Kind
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.mirror import SnapshotMirror, StoredSnapshots
from anyseek.search.spaces.local.space import IndexFactory, LocalSpace

logger = logging.getLogger(__name__)


class LocalBackend:
    """Opens spaces over indexes made by `make_index`, by default those of the settings."""

    def __init__(self, database: Database, settings: Settings, make_index: IndexFactory | None = None) -> None:
        self._database = database
        self._settings = settings
        self._make_index = make_index or _index_factory(settings.index)
        self._filters = FilterCache()
        self._stored = StoredSnapshots(settings.bucket) if settings.bucket else None

    @staticmethod
    def check(settings: Settings) -> str:
        """Raises `GpuMissing` if the settings ask for a GPU and there is none."""
        _index_factory(settings.index)(1)
        return f"FAISS, {settings.index.kind}, on the {settings.index.device.upper()} of this process"

    def open(self, head: Head, space: SpaceHead) -> LocalSpace:
        """Open a space; its `refresh` raises `GpuMissing` if the settings ask for a GPU and there is none."""
        folder = space_folder(self._settings, head.id, space.id)
        mirror = None if self._stored is None else SnapshotMirror(self._stored, folder)
        return LocalSpace(self._database, folder, head.id, space, self._make_index, self._filters.resolve, mirror)

    def clear_filter_cache(self) -> None:
        """Discard all resolved filters."""
        self._filters.clear()

    def remove_unknown(self) -> None:
        """Remove the snapshots of collections and spaces that are gone.

        Folders are listed first: a collection is in the catalogue before its folder is there.
        """
        collection_folders = _numeric_folders(self._settings.indexes)
        space_folders = [folder for parent in collection_folders for folder in _numeric_folders(parent)]
        stored = set() if self._stored is None else self._stored.space_ids()
        with self._database.read() as session:
            known, known_spaces = collections.ids(session), collections.space_ids(session)
        orphaned = [folder for folder in collection_folders if int(folder.name) not in known]
        orphaned += [folder for folder in space_folders if int(folder.name) not in known_spaces]
        for folder in orphaned:
            _remove(folder)
        if self._stored is not None:
            unknown = {ids for ids in stored if ids[0] not in known or ids[1] not in known_spaces}
            self._stored.remove(f"indexes/{collection_id}/{space_id}/" for collection_id, space_id in unknown)

    def close(self) -> None:
        """Do nothing: only memory is in use."""


def space_folder(settings: Settings, collection_id: int, space_id: int) -> Path:
    """The folder of a space's snapshots."""
    return settings.indexes / str(collection_id) / str(space_id)


def _index_factory(settings: Index) -> IndexFactory:
    if settings.device == "gpu":
        return partial(FaissIndex, kind=Kind.GPU)
    return partial(FaissIndex, kind=None if settings.kind == "auto" else Kind(settings.kind))


def _numeric_folders(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.name.isdigit()]


def _remove(folder: Path) -> None:
    """Remove a folder, or leave it for the next time if another process is using it."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("the unused index folder %s cannot be removed now: %s", folder, error)
