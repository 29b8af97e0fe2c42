"""How facets and words are compared and mended on SQLite: in which transactions, and from which items."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session

from anyseek.search.catalogue import checks, collections, derived, facets, words
from anyseek.search.catalogue.derived import FACETS, WORDS, DerivedKind
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import INDEX_WORDS
from anyseek.search.types import Collection

STRAYS = 1_200  # more than two transactions take
LATER = 10_000  # more than any item's number


def damage(database: Database, *statements: str) -> None:
    """Run statements as damage does, without foreign keys and triggers."""
    added, removed = INDEX_WORDS["sqlite"][1:]
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("DROP TRIGGER words_added")
        connection.exec_driver_sql("DROP TRIGGER words_removed")
        for statement in (*statements, added, removed):
            connection.execute(text(statement))
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.commit()


@contextmanager
def transactions(database: Database) -> Iterator[list[list[str]]]:
    """The statements of each writing transaction within the block."""
    seen: list[list[str]] = []

    def note(*call: object) -> None:
        statement = str(call[2])
        if statement.startswith("BEGIN"):
            seen.append([])
        elif seen:
            seen[-1].append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def mend(database: Database, kind: DerivedKind) -> None:
    found = derived.survey(database, kind)
    assert found
    derived.mend(database, kind, found)
    assert not derived.survey(database, kind)


def is_whole(database: Database) -> bool:
    """Whether FTS5 finds its index, and the sums that it keeps, as the rows have them."""
    with database.write() as session:
        session.execute(text("INSERT INTO words_index (words_index, rank) VALUES ('integrity-check', 1)"))
    return True


def test_postgresql_is_not_asked_for_rows_without_items() -> None:
    """Its foreign keys admit none, and the question takes it hours where there are very many items."""
    with Session(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")) as session:
        assert facets.strays(session) == []
        assert words.strays(session, None) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE words SET words = replace(words, 'cat', 'bat')",
        "UPDATE words SET words = 'words that are many more than there were' WHERE words LIKE '%cat%'",
        "UPDATE words SET words = CAST(x'6eff65' AS TEXT) WHERE words LIKE '%cat%'",
        "DELETE FROM words WHERE words LIKE '%cat%'",
    ],
    ids=["other", "more", "no text", "lost"],
)
def test_a_row_is_replaced_without_making_the_whole_index_anew(
    database: Database, gallery: Collection, statement: str
) -> None:
    damage(database, statement)
    with transactions(database) as seen:
        mend(database, WORDS)
    assert not any("rebuild" in one for some in seen for one in some)
    assert is_whole(database)
    with database.read() as session:
        assert len(words.ranked(session, gallery.id, "cat", None, 10)) == 1
        assert words.ranked(session, gallery.id, "bat", None, 10) == []


@pytest.mark.usefixtures("gallery")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE words SET item_id = 77 WHERE item_id = 2",
        "INSERT INTO words_index (words_index, rowid, collection_id, words) "
        "SELECT 'delete', item_id, collection_id, words FROM words WHERE words NOT LIKE '%bat%'",
    ],
    ids=["a row moved", "an entry lost"],
)
def test_an_index_that_differs_itself_is_made_anew(database: Database, statement: str) -> None:
    damage(database, "UPDATE words SET words = replace(words, 'cat', 'bat')", statement)
    mend(database, WORDS)
    assert is_whole(database)


@pytest.mark.usefixtures("gallery")
@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        (FACETS, "INSERT INTO facets (collection_id, item_id, path, number) SELECT 1, n, 'size', n FROM many"),
        (WORDS, "INSERT INTO words (collection_id, item_id, words) SELECT 1, n, 'word' FROM many"),
    ],
    ids=["facets", "words"],
)
def test_rows_of_many_items_that_are_gone_are_removed_in_turns(
    database: Database, kind: DerivedKind, statement: str
) -> None:
    many = f"WITH RECURSIVE many (n) AS (SELECT {LATER} UNION ALL SELECT n + 1 FROM many LIMIT {STRAYS}) "
    damage(database, many + statement)
    with transactions(database) as seen:
        mend(database, kind)
    deletions = [sum(one.startswith("DELETE") for one in some) for some in seen]
    assert sum(deletions) == 3
    assert max(deletions) == 1
    assert not any("rebuild" in one and other.startswith("DELETE") for some in seen for one in some for other in some)


@pytest.mark.usefixtures("gallery")
def test_a_number_that_is_made_a_text_is_mended(database: Database) -> None:
    stray = "INSERT INTO facets (collection_id, item_id, path, number) VALUES (1, 77, 'size', 1)"
    damage(database, stray, "UPDATE facets SET item_id = 'x' WHERE text = 'cat'")
    mend(database, FACETS)


def test_a_number_that_an_item_has_got_meanwhile_keeps_its_rows(database: Database, gallery: Collection) -> None:
    sound = survey_and_facets(database, gallery)
    derived.mend(database, FACETS, derived.Damage(False, {}, [1]))
    assert survey_and_facets(database, gallery) == sound


def survey_and_facets(database: Database, gallery: Collection) -> tuple[bool, list[tuple[object, ...]]]:
    rows = text(f"SELECT * FROM facets WHERE collection_id = {gallery.id} ORDER BY id")
    with database.read() as session:
        return bool(derived.survey(database, FACETS)), [tuple(row) for row in session.execute(rows)]


def test_an_item_without_a_checksum_is_left_to_verify(database: Database, gallery: Collection) -> None:
    """It may be the item that is damaged, and then its facets are right."""
    damage(database, "UPDATE items SET checksum = NULL, attributes = replace(attributes, 'cat', 'bat')")
    damage(database, "UPDATE items SET caption = 'bat' WHERE key = 'cat'")
    sound = survey_and_facets(database, gallery)
    assert sound[0] is False
    assert not derived.survey(database, WORDS)
    cat = next(row[2] for row in sound[1] if "cat" in row)
    derived.mend(database, FACETS, derived.Damage(False, {gallery.id: [int(str(cat))]}, []))
    assert survey_and_facets(database, gallery) == sound
    with database.read() as session:
        assert list(checks.stale_facets(session, collections.head(session, "things"))) == ["cat"]
