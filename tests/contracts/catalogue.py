"""What the suites of the catalogue share."""

from search.catalogue import log
from search.catalogue.session import Database
from search.types import Asset, Collection
from tests.search.gallery import SPACES

PICTURE = Asset("rgb", "/pictures/1.png", False, "image/png", "0" * 64, 10)
THUMBNAIL = Asset("thumbnail", "ab/cdef", True, "image/webp", "1" * 64, 5)


def entries(database: Database, collection: Collection, after: int = 0) -> list[tuple[int, str, int, int | None]]:
    with database.read() as session:
        found = log.entries_after(session, collection.id, after, 1_000)
    return [(entry.seq, entry.kind, entry.item_id, entry.space_id) for entry in found]


def space_ids(collection: Collection) -> list[int]:
    return [collection.spaces[name].id for name in SPACES]
