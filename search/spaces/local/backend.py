"""The backend in this process: FAISS or NumPy over vectors in memory, with snapshots in the data directory."""

import logging
import shutil
from functools import partial
from pathlib import Path

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Index, Settings
from anyseek.search.spaces.local.candidates import Kind
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.filters import ResolvedFilters
from anyseek.search.spaces.local.space import LocalSpace, MakeIndex

logger = logging.getLogger(__name__)


class LocalBackend:
    """Opens spaces over indexes made by `make_index`, by default those of the settings."""

    def __init__(self, database: Database, settings: Settings, make_index: MakeIndex | None = None) -> None:
        self._database = database
        self._settings = settings
        self._make_index = make_index or _index_of(settings.index)
        self._filters = ResolvedFilters()

    @staticmethod
    def check(settings: Settings) -> str:
        """Raises `GpuMissing` if the settings ask for a GPU and there is none."""
        _index_of(settings.index)(1)
        return f"FAISS, {settings.index.kind}, on the {settings.index.device.upper()} of this process"

    def open(self, head: Head, space: SpaceHead) -> LocalSpace:
        """Open a space; its `refresh` raises `GpuMissing` if the settings ask for a GPU and there is none."""
        folder = space_folder(self._settings, head.id, space.id)
        return LocalSpace(self._database, folder, head.id, space, self._make_index, self._filters)

    def forget_filters(self) -> None:
        """Resolve every filter anew."""
        self._filters.forget()

    def remove_unknown(self) -> None:
        """Remove the snapshots of collections and spaces that are gone.

        Folders are listed first: a collection is in the catalogue before its folder is there.
        """
        of_collections = _numbered(self._settings.indexes)
        of_spaces = [folder for parent in of_collections for folder in _numbered(parent)]
        with self._database.read() as session:
            known, known_spaces = collections.ids(session), collections.space_ids(session)
        gone = [folder for folder in of_collections if int(folder.name) not in known]
        gone += [folder for folder in of_spaces if int(folder.name) not in known_spaces]
        for folder in gone:
            _remove(folder)

    def close(self) -> None:
        """Do nothing: only memory is in use."""


def space_folder(settings: Settings, collection_id: int, space_id: int) -> Path:
    """The folder of a space's snapshots."""
    return settings.indexes / str(collection_id) / str(space_id)


def _index_of(settings: Index) -> MakeIndex:
    if settings.device == "gpu":
        return partial(FaissIndex, kind=Kind.GPU)
    return partial(FaissIndex, kind=None if settings.kind == "auto" else Kind(settings.kind))


def _numbered(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.name.isdigit()]


def _remove(folder: Path) -> None:
    """Remove a folder; if another process is using it now, leave it to the next time."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("the folder of indexes %s is not needed any more and is left: %s", folder, error)
