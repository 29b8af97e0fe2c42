"""Queries, counts and maps by facets and words that were damaged: right after a mend, or refused."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from anyseek.search.catalogue import derived as catalogue_derived
from anyseek.search.catalogue.derived import find_damage
from anyseek.search.catalogue.derived_tables import FACETS
from anyseek.search.catalogue.session import Database, patience
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import DatabaseBusy, StoreCorrupt
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.maps import MapRequest
from anyseek.search.spaces.local.backend import LocalBackend
from anyseek.search.types import Part, Query
from anyseek.search.upkeep import derived as trusting
from anyseek.search.upkeep.derived import ConsistencyMonitor
from tests.search.gallery import Home, WordsEmbedder, keys

CATS = filter_from_text("words = cat")
BY_FILTER = Query((Part("caption", "cat"),), k=100, where=CATS)
BY_WORDS = Query((Part("words", "cat"),), k=100)
BY_FACETS = Query((Part("caption", "cat"),), k=100, facets=("words",))
BY_GROUP = Query((Part("caption", "cat"),), k=100, group_by="words")
PLAIN = Query((Part("caption", "cat"),), k=100)


def damage(home: Home, statement: str = "UPDATE facets SET text = 'bat' WHERE text = 'cat'") -> None:
    with home.database.write() as session:
        session.execute(text(statement))


def refuse_to_delete(*call: object) -> None:
    if str(call[2]).startswith("DELETE"):
        raise OperationalError(str(call[2]), {}, Exception("attempt to write a readonly database"))


@pytest.mark.parametrize(
    "query", [BY_FILTER, BY_WORDS, BY_FACETS, BY_GROUP], ids=["filter", "words", "facets", "group"]
)
def test_the_first_answer_of_a_process_is_right(home: Home, engine: SearchEngine, query: Query) -> None:
    sound = engine.query("things", query)
    damage(home)
    damage(home, "UPDATE words SET words = replace(words, 'cat', 'bat')")
    damage(home, "INSERT INTO words_index (words_index) VALUES ('rebuild')")
    assert home.engine().query("things", query) == sound


def test_a_map_is_coloured_by_what_items_say(home: Home, engine: SearchEngine) -> None:
    asked = MapRequest(colour_by="words")
    sound = engine.map("things", asked)
    damage(home)
    assert home.engine().map("things", asked) == sound


def test_queries_that_read_neither_compare_nothing(
    database: Database, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyseek.search.catalogue.derived.find_damage", None)
    assert len(engine.query("things", PLAIN).hits) == 5
    with pytest.raises(StoreCorrupt, match="TypeError"):
        engine.query("things", BY_FILTER)


def test_what_cannot_be_mended_refuses_only_the_queries_that_read_it(home: Home, engine: SearchEngine) -> None:
    damage(home)
    event.listen(home.database.engine, "before_cursor_execute", refuse_to_delete)
    fresh = home.engine()
    plain, by_filter, by_facets, by_words = fresh.query_batch("things", [PLAIN, BY_FILTER, BY_FACETS, BY_WORDS])
    assert (keys(plain), keys(by_words)) == (keys(engine.query("things", PLAIN)), ["cat"])
    for refused in (by_filter, by_facets):
        assert isinstance(refused, StoreCorrupt)
        assert "anyseek rebuild" in str(refused)
    with pytest.raises(StoreCorrupt, match="cannot be mended"):
        fresh.map("things", MapRequest(colour_by="words"))


@pytest.mark.parametrize(
    "error",
    [OperationalError("", {}, Exception("database disk image is malformed")), TypeError("'<' not supported")],
    ids=["known", "unknown"],
)
def test_a_comparison_that_failed_is_not_repeated_by_every_query(
    database: Database, engine: SearchEngine, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def fail(*given: object) -> None:
        tried.append(given)
        raise error

    monkeypatch.setattr(trusting, "_RETRY_SECONDS", 600.0)
    monkeypatch.setattr(catalogue_derived, "find_damage", fail)
    for _ in range(3):
        with pytest.raises(StoreCorrupt, match="anyseek verify"):
            engine.query("things", BY_FILTER)
    assert len(tried) == 1
    assert len(engine.query("things", PLAIN).hits) == 5
    monkeypatch.undo()
    monkeypatch.setattr(engine._derived.facets, "_retry_at", 0.0)
    assert keys(engine.query("things", BY_FILTER)) == ["cat"]


def test_after_a_failure_nobody_waits_for_the_next_trial(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    facets = ConsistencyMonitor(home.database).facets
    trying, go_on = threading.Event(), threading.Event()

    def fail(*_given: object) -> None:
        raise OperationalError("", {}, Exception("database disk image is malformed"))

    def wait(*given: object) -> object:
        trying.set()
        assert go_on.wait(60)
        return find_damage(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(catalogue_derived, "find_damage", fail)
    with pytest.raises(StoreCorrupt):
        facets.check()
    monkeypatch.setattr(catalogue_derived, "find_damage", wait)
    monkeypatch.setattr(facets, "_retry_at", 0.0)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(facets.check)
        assert trying.wait(60)
        second = threads.submit(facets.check)
        try:
            assert isinstance(second.exception(60), StoreCorrupt)
        finally:
            go_on.set()
        first.result()
    facets.check()


def test_damage_in_a_database_that_another_holds_is_mended_later(
    home: Home, engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = engine.query("things", BY_FILTER)
    damage(home)
    fresh = home.engine()
    with home.database.write(), patience(0.1), pytest.raises(DatabaseBusy):
        fresh.query("things", BY_FILTER)
    monkeypatch.setattr(fresh._derived.facets, "_retry_at", 0.0)
    assert fresh.query("things", BY_FILTER) == sound


@pytest.mark.parametrize("hindrance", ["a lock", "a fault"])
def test_what_hinders_a_comparison_beside_answers_changes_none_and_is_tried_again(
    home: Home, hindrance: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trusting, "MAX_FOREGROUND_ITEMS", 0)
    damage(home)
    facets = ConsistencyMonitor(home.database).facets
    facets.check()
    if hindrance == "a lock":
        with home.database.write(), patience(0.1), caplog.at_level(logging.WARNING):
            facets.compare_in_background(threading.Event())
        assert "another process holds the database" in caplog.text
    else:
        with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
            patched.setattr(catalogue_derived, "find_damage", None)
            facets.compare_in_background(threading.Event())
        assert "Traceback" in caplog.text
    facets.check()
    assert not facets.is_due(0)
    monkeypatch.setattr(facets, "_retry_at", 0.0)
    assert facets.is_due(0)
    facets.compare_in_background(threading.Event())
    assert not find_damage(home.database, FACETS)


def test_filters_that_were_resolved_by_damage_are_resolved_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells which items an index has lost, so all filters are forgotten when it is made anew."""
    monkeypatch.setattr(trusting, "MAX_FOREGROUND_ITEMS", 0)
    backend = LocalBackend(home.database, home.settings)
    rows = ConsistencyMonitor(home.database, backend.clear_filter_cache)
    engine = SearchEngine(home.database, home.settings, WordsEmbedder(), backend, rows)
    drop_an_entry(home)
    assert engine.query("things", BY_FILTER).hits == ()
    rows.facets.compare_in_background(threading.Event())
    assert keys(engine.query("things", BY_FILTER)) == ["cat"]
    assert home.item("cat").revision == 1


def drop_an_entry(home: Home) -> None:
    """Have the index of texts lack the row of the cat: it is made anew where that has no text, which it then gets."""
    with home.database.engine.connect() as connection:
        version = connection.exec_driver_sql("PRAGMA schema_version").scalar()
        definition = "SELECT sql FROM sqlite_master WHERE name = 'facets_by_text'"
        written = connection.exec_driver_sql(definition).scalar()
        connection.exec_driver_sql("DROP INDEX facets_by_text")
        connection.exec_driver_sql(str(written).replace("IS NOT NULL", "IS NOT NULL AND text <> 'cat'"))
        connection.exec_driver_sql("PRAGMA writable_schema=ON")
        connection.exec_driver_sql("UPDATE sqlite_master SET sql = ? WHERE name = 'facets_by_text'", (written,))
        connection.exec_driver_sql(f"PRAGMA schema_version={int(version or 0) + 10}")
        connection.exec_driver_sql("PRAGMA writable_schema=OFF")
    home.database.engine.dispose()
