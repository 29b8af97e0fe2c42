"""The service that is soaked: killed and started again with the model that its collection has come to."""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.settings import Settings
from tests.indexer.mirrored import OLD
from tests.services.anyseek import Anyseek

COLLECTION = "soak"
_MEBIBYTE = 1024 * 1024
# Both of its models need no weights, and items that were found are kept up to a small limit, so that leaks are seen.
_LINES = (
    "import anyseek.workers.runtime as runtime\nfrom tests.indexer.mirrored import load\nruntime.load_embedder = load"
)
_SETTINGS: Mapping[str, str] = {"ANYSEEK_LIMITS_ITEM_CACHE_BYTES": "100000"}


class Soaked(Anyseek):
    """`anyseek serve` over two models without weights."""

    lives = 0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _SETTINGS, _LINES)

    @property
    def settings(self) -> Settings:
        return Settings(self.home)

    def model(self) -> str:
        """The model of the collection, that of new ones if it is not there yet."""
        if not self.home.exists():
            return OLD
        with closing(Database(self.settings.database_url)) as database, database.read() as session:
            return next((held.model for held in collections.list_all(session) if held.name == COLLECTION), OLD)

    def log_rows(self) -> int:
        """How many vectors and deletions the log has."""
        with closing(Database(self.settings.database_url)) as database, database.read() as session:
            return session.scalar(select(func.count()).select_from(LogRow)) or 0

    def command(self) -> list[str]:
        command = super().command()
        return [*command[:-1], self.model()]

    def start(self) -> None:
        super().start()
        self.lives += 1

    def sizes(self) -> dict[str, float]:
        """MiB on the disk: the database, its write-ahead log, snapshots, stored files, the service's own log."""
        home = self.home
        database = home / "catalogue.sqlite"
        found = {"database": _size(database), "write-ahead log": _size(database.with_name(f"{database.name}-wal"))}
        found |= {name: _size_below(home / name) for name in ("indexes", "assets")}
        return found | {"log": _size(self.folder / "log")}


def _size(file: Path) -> float:
    try:
        return file.stat().st_size / _MEBIBYTE
    except FileNotFoundError:
        return 0.0


def _size_below(folder: Path) -> float:
    return sum(_size(Path(at) / name) for at, _, names in os.walk(folder) for name in names)
