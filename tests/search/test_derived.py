"""Queries, counts and maps by facets and words that were damaged: right after a mend, or refused."""

import threading

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from search import derived as trusting
from search.catalogue import items
from search.catalogue.session import Database
from search.derived import DerivedRows
from search.engine import SearchEngine
from search.errors import StoreCorrupt
from search.filters.from_text import filter_from_text
from search.maps import MapRequest
from search.settings import Settings
from search.spaces.local.backend import LocalBackend
from search.types import Collection, Part, Query, Words
from tests.search.gallery import WordsEmbedder, keys

CATS = filter_from_text("words = cat")
BY_FILTER = Query((Part("caption", "cat"),), k=100, where=CATS)
BY_WORDS = Query((), k=100, words=(Words("cat"),))
BY_FACETS = Query((Part("caption", "cat"),), k=100, facets=("words",))
BY_GROUP = Query((Part("caption", "cat"),), k=100, group_by="words")
PLAIN = Query((Part("caption", "cat"),), k=100)


def damage(database: Database, statement: str = "UPDATE facets SET text = 'bat' WHERE text = 'cat'") -> None:
    with database.write() as session:
        session.execute(text(statement))


def refuse_to_delete(*call: object) -> None:
    if str(call[2]).startswith("DELETE"):
        raise OperationalError(str(call[2]), {}, Exception("attempt to write a readonly database"))


@pytest.mark.parametrize(
    "query", [BY_FILTER, BY_WORDS, BY_FACETS, BY_GROUP], ids=["filter", "words", "facets", "group"]
)
def test_the_first_answer_of_a_process_is_right(
    database: Database, settings: Settings, engine: SearchEngine, query: Query
) -> None:
    sound = engine.query("things", query)
    damage(database)
    damage(database, "UPDATE words SET words = replace(words, 'cat', 'bat')")
    damage(database, "INSERT INTO words_index (words_index) VALUES ('rebuild')")
    fresh = SearchEngine(database, settings, WordsEmbedder())
    assert fresh.query("things", query) == sound


def test_a_map_is_coloured_by_what_items_say(database: Database, settings: Settings, engine: SearchEngine) -> None:
    asked = MapRequest(colour_by="words")
    sound = engine.map("things", asked)
    damage(database)
    fresh = SearchEngine(database, settings, WordsEmbedder())
    assert fresh.map("things", asked) == sound


def test_queries_that_read_neither_compare_nothing(
    database: Database, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.catalogue.derived.survey", None)
    assert len(engine.query("things", PLAIN).hits) == 5
    with pytest.raises(TypeError):
        engine.query("things", BY_FILTER)


def test_what_cannot_be_mended_refuses_only_the_queries_that_read_it(
    database: Database, settings: Settings, engine: SearchEngine
) -> None:
    damage(database)
    event.listen(database.engine, "before_cursor_execute", refuse_to_delete)
    fresh = SearchEngine(database, settings, WordsEmbedder())
    plain, by_filter, by_facets, by_words = fresh.query_batch("things", [PLAIN, BY_FILTER, BY_FACETS, BY_WORDS])
    assert (keys(plain), keys(by_words)) == (keys(engine.query("things", PLAIN)), ["cat"])
    for refused in (by_filter, by_facets):
        assert isinstance(refused, StoreCorrupt)
        assert "anyseek rebuild" in str(refused)
    with pytest.raises(StoreCorrupt, match="cannot be mended"):
        fresh.map("things", MapRequest(colour_by="words"))


def test_filters_that_were_resolved_by_damage_are_resolved_anew(
    database: Database, settings: Settings, gallery: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells which items an index has lost, so all filters are forgotten when it is made anew."""
    monkeypatch.setattr(trusting, "AT_ONCE", 0)
    backend = LocalBackend(database, settings)
    rows = DerivedRows(database, backend.forget_filters)
    engine = SearchEngine(database, settings, WordsEmbedder(), backend, rows)
    drop_an_entry(database)
    assert engine.query("things", BY_FILTER).hits == ()
    rows.facets.compare_beside(threading.Event())
    assert keys(engine.query("things", BY_FILTER)) == ["cat"]
    with database.read() as session:
        assert items.get(session, gallery, "cat").revision == 1


def drop_an_entry(database: Database) -> None:
    """Have the index of texts lack the row of the cat: it is made anew where that has no text, which it then gets."""
    with database.engine.connect() as connection:
        version = connection.exec_driver_sql("PRAGMA schema_version").scalar()
        definition = "SELECT sql FROM sqlite_master WHERE name = 'facets_by_text'"
        written = connection.exec_driver_sql(definition).scalar()
        connection.exec_driver_sql("DROP INDEX facets_by_text")
        connection.exec_driver_sql(str(written).replace("IS NOT NULL", "IS NOT NULL AND text <> 'cat'"))
        connection.exec_driver_sql("PRAGMA writable_schema=ON")
        connection.exec_driver_sql("UPDATE sqlite_master SET sql = ? WHERE name = 'facets_by_text'", (written,))
        connection.exec_driver_sql(f"PRAGMA schema_version={int(version or 0) + 10}")
        connection.exec_driver_sql("PRAGMA writable_schema=OFF")
    database.engine.dispose()
