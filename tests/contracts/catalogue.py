"""What the suites of the catalogue share."""

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from anyseek.search.catalogue import log
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import Table
from anyseek.search.types import Asset, Collection
from tests.search.gallery import SPACES, Things

PICTURE = Asset("rgb", "/pictures/1.png", False, "image/png", "0" * 64, 10)
THUMBNAIL = Asset("thumbnail", "ab/cdef", True, "image/webp", "1" * 64, 5)


def entries(things: Things, after: int = 0) -> list[tuple[int, str, int, int | None]]:
    with things.database.read() as session:
        found = log.entries_after(session, things.collection.id, after, 1_000)
    return [(entry.seq, entry.kind, entry.item_id, entry.space_id) for entry in found]


def space_ids(collection: Collection) -> list[int]:
    return [collection.spaces[name].id for name in SPACES]


def empty(database: Database) -> None:
    """Take everything out of a database on PostgreSQL. Numbers go on, as they do when collections are deleted."""
    tables = ", ".join(table.name for table in Table.metadata.sorted_tables)
    for attempts_left in (4, 3, 2, 1, 0):
        try:
            with database.engine.begin() as connection:
                connection.execute(text(f"TRUNCATE {tables}"))
        except OperationalError:  # a deadlock with a worker that looks around
            if not attempts_left:
                raise
        else:
            return
