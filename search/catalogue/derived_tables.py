"""The derived tables of facets and words: written with the items, compared with them, and rebuilt from them.

SQLite indexes words by FTS5 in the table `words_index`, which triggers keep in step with the rows; PostgreSQL indexes
the rows themselves. `anyseek.search.query.words` normalises the words, so both databases find the same items.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, insert, select, text
from sqlalchemy import delete as delete_rows
from sqlalchemy.orm import Session

from anyseek.search.catalogue import item_rows
from anyseek.search.catalogue.tables import FacetRow, ItemRow, WordsRow
from anyseek.search.catalogue.values import Lookup, chunks
from anyseek.search.filters.facets import Facet, facets_of
from anyseek.search.query.words import document
from anyseek.search.types import Item

_CREATE_VOCABULARY = text(
    "CREATE VIRTUAL TABLE IF NOT EXISTS temp.words_indexed USING fts5vocab(main, words_index, instance)"
)
# Cast to bytes, since damaged text may be undecodable.
_ENTRIES = text("SELECT doc, col, CAST(term AS BLOB) FROM temp.words_indexed")
_ROWS = text("SELECT item_id, CAST(collection_id AS BLOB), CAST(words AS BLOB) FROM words")
_TOKEN = re.compile(rb"[0-9a-z\x80-\xff]+")  # of lower-case text, like FTS5's tokenizer `ascii`
_ENTRIES_PER_PAUSE = 10_000


class DerivedTable(ABC):
    """A table whose rows derive from the items."""

    name: str  # for users
    problem: str  # the beginning of a message about stale rows
    _row: type[FacetRow] | type[WordsRow]
    _columns: tuple[str, ...]

    def __init__(self) -> None:
        self._item_id: ColumnElement[Any] = self._row.__table__.c.item_id
        self._of_items = Lookup(select(*(self._row.__table__.c[name] for name in self._columns)), self._item_id)

    @abstractmethod
    def rows_of(self, collection_id: int, item: Item) -> list[tuple[Any, ...]]:
        """The rows that an item should have, in order, each with the values of `_columns`."""

    @abstractmethod
    def index_disagrees(self, session: Session, pause: Callable[[], None] = lambda: None) -> bool:
        """True if SQLite's index of the table disagrees with the rows. PostgreSQL's pages have checksums.

        A long comparison calls `pause` at intervals, so that it may yield to other work.
        """

    @abstractmethod
    def rebuild_index(self, session: Session) -> None:
        """Rebuild SQLite's index, which covers the rows of all collections."""

    def insert(self, session: Session, collection_id: int, items: Sequence[Item]) -> None:
        """Write the rows of items that have none."""
        rows = [
            dict(zip(self._columns, row, strict=True)) for item in items for row in self.rows_of(collection_id, item)
        ]
        if rows:
            # Bypasses the ORM, which would send one statement per run of facets of one type.
            session.connection().execute(insert(self._row), rows)

    def delete(self, session: Session, ids: Sequence[int]) -> None:
        """Delete the rows of items."""
        for chunk in chunks(ids):
            session.execute(delete_rows(self._row).where(self._item_id.in_(chunk)))

    def rebuild(self, session: Session, collection_id: int) -> None:
        """Rebuild the rows of all items of a collection; a damaged item gets none."""
        session.execute(delete_rows(self._row).where(self._row.collection_id == collection_id))
        for page in item_rows.iter_pages(session, item_rows.in_collection(collection_id)):
            self.insert(session, collection_id, [item for item in page if not item.damaged])

    def stale(self, session: Session, collection_id: int, items: Sequence[Item]) -> list[Item]:
        """The `items`, all sound, whose rows differ from `rows_of`."""
        stale: list[Item] = []
        for chunk in chunks(items):
            rows = Counter(map(tuple, self._of_items.rows(session.connection(), [item.id for item in chunk])))
            expected = {row for item in chunk for row in self.rows_of(collection_id, item)}
            # Damage can also duplicate a row.
            ids = {row[0] for row in expected ^ rows.keys()} | {row[0] for row, count in rows.items() if count > 1}
            stale += [item for item in chunk if item.id in ids]
        return stale

    def orphans(self, session: Session) -> list[int]:
        """Ids of missing items that still have rows; PostgreSQL's foreign keys prevent them."""
        if not _is_sqlite(session):
            return []
        return list(session.scalars(select(self._item_id).where(self._item_id.not_in(select(ItemRow.id))).distinct()))


class _Facets(DerivedTable):
    name = "attributes"
    problem = "filters would not see the attributes of"
    _row = FacetRow
    _columns = ("item_id", "collection_id", *Facet._fields)

    def rows_of(self, collection_id: int, item: Item) -> list[tuple[Any, ...]]:
        return [(item.id, collection_id, *facet) for facet in facets_of(item.attributes)]

    def replace_below(self, session: Session, collection_id: int, items: Sequence[Item], name: str) -> None:
        """Write the rows of items anew that are inside their attribute `name`."""
        for chunk in chunks([item.id for item in items]):
            session.execute(delete_rows(FacetRow).where(FacetRow.item_id.in_(chunk), is_below(name)))
        rows = (
            dict(zip(self._columns, row, strict=True)) for item in items for row in self.rows_of(collection_id, item)
        )
        inner = [row for row in rows if row["path"].startswith(f"{name}.")]
        if inner:
            session.connection().execute(insert(FacetRow), inner)

    def index_disagrees(self, session: Session, pause: Callable[[], None] = lambda: None) -> bool:
        return _is_sqlite(session) and session.scalars(text("PRAGMA integrity_check(facets)")).all() != ["ok"]

    def rebuild_index(self, session: Session) -> None:
        if _is_sqlite(session):
            session.execute(text("REINDEX facets"))


class _Words(DerivedTable):
    name = "words"
    problem = "words would not find"
    _row = WordsRow
    _columns = ("item_id", "collection_id", "words")

    def rows_of(self, collection_id: int, item: Item) -> list[tuple[Any, ...]]:
        return [(item.id, collection_id, document(item.key, item.caption, item.attributes))]

    def index_disagrees(self, session: Session, pause: Callable[[], None] = lambda: None) -> bool:
        """Compare index and row of each item by the XOR of the hashes of their words."""
        if not _is_sqlite(session):
            return False
        session.execute(_CREATE_VOCABULARY)
        row_entries = (
            (item_id, column, word)
            for item_id, collection, words in session.execute(_ROWS)
            for column, value in (("collection_id", collection), ("words", words))
            for word in set(_TOKEN.findall(value.lower()))
        )
        hashes: dict[int, int] = defaultdict(int)
        for index, (item_id, *entry) in enumerate(chain(session.execute(_ENTRIES), row_entries)):
            if index % _ENTRIES_PER_PAUSE == 0:
                pause()
            hashes[item_id] ^= hash(tuple(entry))
        return any(hashes.values())

    def rebuild_index(self, session: Session) -> None:
        if _is_sqlite(session):
            session.execute(text("INSERT INTO words_index (words_index) VALUES ('rebuild')"))


FACETS = _Facets()
WORDS = _Words()


def is_below(name: str) -> ColumnElement[bool]:
    """Whether the path of a facet is inside the attribute `name`."""
    return (FacetRow.path >= f"{name}.") & (FacetRow.path < f"{name}/")


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
