"""Full text: which items have a word in their key, caption or attributes.

The table `words` has a row for each item. SQLite indexes it by FTS5 in the table `words_index`, which triggers keep
true; PostgreSQL by an index of the row as a `tsvector`. The words come normalised from `anyseek.search.query.words`, so
both find the same.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from sqlalchemy import delete as delete_rows
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, facets, item_rows
from anyseek.search.catalogue.tables import ItemRow, WordsRow
from anyseek.search.catalogue.values import Lookup, chunks
from anyseek.search.filters.tree import Filter
from anyseek.search.query.words import document, words_of
from anyseek.search.types import IdArray, Item

NAME = "words"
_FIND = {
    "sqlite": text("SELECT rowid FROM words_index WHERE words_index MATCH :wanted"),
    "postgresql": text(
        "SELECT item_id FROM words WHERE array_to_tsvector(array_prepend('@' || CAST(collection_id AS text), "
        "string_to_array(words, ' '))) @@ CAST(:wanted AS tsquery)"
    ),
}
_INDEXED = text("SELECT doc, term FROM temp.words_indexed WHERE col = 'words'")
_SEE_INDEXED = text(
    "CREATE VIRTUAL TABLE IF NOT EXISTS temp.words_indexed USING fts5vocab(main, words_index, instance)"
)
_OF_ITEMS = Lookup(select(WordsRow.item_id, WordsRow.collection_id, WordsRow.words), WordsRow.__table__.c.item_id)
_READ_AT_ONCE = 10_000  # entries of the index
_TAKE_OUT = text(
    "INSERT INTO words_index (words_index, rowid, collection_id, words) VALUES ('delete', :id, :collection_id, :words)"
)
_PUT_AS_ROW = text(
    "INSERT INTO words_index (rowid, collection_id, words) SELECT item_id, collection_id, words FROM words "
    "WHERE item_id = :id"
)
_INDEX_AGAIN = text("INSERT INTO words_index (words_index) VALUES ('rebuild')")


def insert_of(session: Session, collection_id: int, changed: Sequence[Item]) -> None:
    """Write the words of items that have none."""
    rows = [
        {"item_id": item.id, "collection_id": collection_id, "words": document(item.key, item.caption, item.attributes)}
        for item in changed
    ]
    if rows:
        session.connection().execute(insert(WordsRow), rows)


def delete(session: Session, ids: Sequence[int]) -> None:
    """Delete the words of items."""
    for some in chunks(ids):
        session.execute(delete_rows(WordsRow).where(WordsRow.item_id.in_(some)))


def write_again(session: Session, collection_id: int, some: Sequence[Item], index_is_of_rows: bool) -> None:
    """Replace the words of items. Where SQLite's index is not that of their rows, it must be right as it is."""
    ids = [item.id for item in some]
    if some and _is_sqlite(session) and not index_is_of_rows:
        right = [document(item.key, item.caption, item.attributes) for item in some]
        taken = [
            {"id": item_id, "collection_id": collection_id, "words": one}
            for item_id, one in zip(ids, right, strict=True)
        ]
        # The trigger takes out of the index what a row says, so the index has to say that first.
        session.connection().execute(_TAKE_OUT, taken)
        session.connection().execute(_PUT_AS_ROW, [{"id": item_id} for item_id in ids])
    delete(session, ids)
    insert_of(session, collection_id, some)


def rebuild_index(session: Session) -> None:
    """Make SQLite's index of all collections' words anew; a damaged one cannot follow what `make_again` writes."""
    if _is_sqlite(session):
        session.execute(_INDEX_AGAIN)


def index_disagrees(session: Session) -> bool:
    """False: what is wrong with the index, `index_differs` tells."""
    return False


def make_again(session: Session, collection_id: int) -> None:
    """Write the words of all items of a collection anew; a damaged item has none."""
    session.execute(delete_rows(WordsRow).where(WordsRow.collection_id == collection_id))
    for some in item_rows.pages(session, item_rows.of_collection(collection_id)):
        insert_of(session, collection_id, [item for item in some if not item.damaged])


def ranked(session: Session, collection_id: int, query: str, where: Filter | None, most: int) -> list[tuple[int, int]]:
    """The items that have one of the words asked for and pass a `checked` filter: (item id, rank), at most `most`.

    Those with more of the words come first, and rarer words count more. Items with the same words have the same rank.
    """
    found = {word: _ids(session, collection_id, word) for word in dict.fromkeys(words_of(query))}
    every = np.unique(np.concatenate([np.empty(0, np.int64), *found.values()]))
    if where is not None:
        every = facets.ids_where(session, collection_id, where, among=every)
    if not len(every):
        return []
    count, scores = collections.count(session, collection_id), np.zeros(len(every))
    for ids in found.values():
        if len(ids):
            scores[np.isin(every, ids, assume_unique=True)] += math.log(1 + count / len(ids))
    scores = scores.round(9)  # the order of a sum makes no rank
    order = np.lexsort((every, -scores))
    ranks = 1 + np.searchsorted(-scores[order], -scores[order], side="left")
    return list(zip(every[order][:most].tolist(), ranks[:most].tolist(), strict=True))


def stale(session: Session, collection_id: int, some: Sequence[Item], indexed: Mapping[int, int] | None) -> list[Item]:
    """The sound items of `some` that full text does not find by their words, or finds by others.

    `indexed` is what the function of this name said in the same transaction.
    """
    wrong: list[Item] = []
    for few in chunks(some):
        rows = _OF_ITEMS.rows(session.connection(), [item.id for item in few])
        held = {item_id: (of_collection, words) for item_id, of_collection, words in rows}
        for item in few:
            right = document(item.key, item.caption, item.attributes)
            is_found = indexed is None or indexed.get(item.id, 0) == mark_of(right)
            if not is_found or held.get(item.id) != (collection_id, right):
                wrong.append(item)
    return wrong


def index_differs(some: Sequence[Item], strays: Sequence[int], indexed: Mapping[int, int] | None) -> bool:
    """True if SQLite's index, and not only a row, has other words than one of these items, or has `strays`."""
    if indexed is None:
        return False
    return bool(strays) or any(
        indexed.get(item.id, 0) != mark_of(document(item.key, item.caption, item.attributes)) for item in some
    )


def strays(session: Session, indexed: Mapping[int, int] | None) -> list[int]:
    """The numbers of items that words are of, by their rows or by what `indexed` said, and that are not there.

    PostgreSQL's foreign keys admit none.
    """
    if indexed is None:
        return []
    held = set(session.scalars(select(WordsRow.item_id).where(WordsRow.item_id.not_in(select(ItemRow.id)))))
    return sorted(held | (indexed.keys() - set(session.scalars(select(ItemRow.id)))))


def indexed(session: Session, rest: Callable[[], None] = lambda: None) -> Mapping[int, int] | None:
    """`mark_of` the words that SQLite's index has of each item of all collections; None on PostgreSQL.

    `rest` is called now and then, by which a long reading may let others go first.
    """
    if not _is_sqlite(session):
        return None
    session.execute(_SEE_INDEXED)
    marks: dict[int, int] = {}
    for place, (item_id, word) in enumerate(session.execute(_INDEXED)):
        if place % _READ_AT_ONCE == 0:
            rest()
        marks[item_id] = marks.get(item_id, 0) ^ hash(word)
    return marks


def mark_of(words: str) -> int:
    """A number that two sets of words have in common only by chance, in one process."""
    mark = 0
    for word in words.split():
        mark ^= hash(word)
    return mark


def _ids(session: Session, collection_id: int, word: str) -> IdArray:
    """Words are letters, digits and marks, so quotes hold them."""
    if _is_sqlite(session):
        wanted = f'collection_id : "{collection_id}" AND words : "{word}"'
        rows: Iterator[int] = iter(session.scalars(_FIND["sqlite"], {"wanted": wanted}))
    else:
        rows = iter(session.scalars(_FIND["postgresql"], {"wanted": f"'@{collection_id}' & '{word}'"}))
    return np.unique(np.fromiter(rows, np.int64))


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
