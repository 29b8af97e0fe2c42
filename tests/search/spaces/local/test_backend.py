"""Filters that were resolved before: brought up to date from the log, and always what asking for all would give."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from anyseek.search.catalogue import collections, facets, items, log
from anyseek.search.catalogue.session import Database
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import Filter, checked
from anyseek.search.spaces.local import backend
from anyseek.search.spaces.local.backend import ResolvedFilters
from anyseek.search.types import Collection, IdArray, NewItem
from tests.search.gallery import SPACES, WordsEmbedder, direction, make_collection, open_catalogue, remove

WHERE = checked(filter_from_text("n >= 3 and not n = 5 or @key starts with z"))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_catalogue(tmp_path)[1]


@pytest.fixture
def collection(database: Database) -> Collection:
    held = make_collection(database, WordsEmbedder())
    put(database, held, {f"k{n}": n for n in range(8)})
    return held


def put(database: Database, collection: Collection, numbers: dict[str, int]) -> None:
    new = [
        NewItem(key, key, {space: direction(key, space) for space in SPACES}, attributes={"n": n})
        for key, n in numbers.items()
    ]
    with database.write() as session:
        items.write(session, collection, new)


def resolved(database: Database, filters: ResolvedFilters, where: Filter = WHERE) -> IdArray:
    with database.read() as session:
        return filters.resolve(session, collections.head(session, "things"), [where])[where]


def anew(database: Database, collection: Collection) -> IdArray:
    with database.read() as session:
        return facets.ids_where(session, collection.id, WHERE)


def change(database: Database, collection: Collection) -> None:
    """Items come, go, begin to pass and pass no more."""
    put(database, collection, {"k1": 9, "k4": 0, "z": 0, "new": 3})
    remove(database, collection, ["k6"])


def test_after_changes_it_is_what_asking_for_all_gives(database: Database, collection: Collection) -> None:
    filters = ResolvedFilters()
    before = resolved(database, filters)
    change(database, collection)
    after = resolved(database, filters)
    np.testing.assert_array_equal(after, anew(database, collection))
    assert before.tolist() != after.tolist()


def test_only_what_has_changed_is_looked_at(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters, looked_at, ask = ResolvedFilters(), [], facets.ids_where

    def ask_and_note(*arguments: object) -> IdArray:
        looked_at.append(None if len(arguments) < 4 else len(arguments[3]))
        return ask(*arguments)

    monkeypatch.setattr(facets, "ids_where", ask_and_note)
    resolved(database, filters)
    resolved(database, filters)
    change(database, collection)
    resolved(database, filters)
    assert looked_at == [None, 5]


def test_nothing_is_asked_while_nothing_changes(database: Database, collection: Collection) -> None:
    filters = ResolvedFilters()
    resolved(database, filters)
    asked: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: asked.append(call[2].split()[0]))
    resolved(database, filters)
    assert asked == ["BEGIN", "SELECT"]  # the head


@pytest.mark.parametrize("many", [True, False])
def test_after_many_changes_or_a_compaction_all_is_asked_for_again(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    filters = ResolvedFilters()
    resolved(database, filters)
    change(database, collection)
    if many:
        monkeypatch.setattr(backend, "MOST_CHANGED", 2)
    else:
        with database.write() as session:
            log.compact(session, collection.id, collections.head(session, "things").last_seq)
    np.testing.assert_array_equal(resolved(database, filters), anew(database, collection))


def test_a_reader_that_began_earlier_does_not_set_it_back(database: Database, collection: Collection) -> None:
    filters = ResolvedFilters()
    with database.read() as session:
        earlier = collections.head(session, "things")
        change(database, collection)
        newest = resolved(database, filters)
        np.testing.assert_array_equal(filters.resolve(session, earlier, [WHERE])[WHERE], newest)
    np.testing.assert_array_equal(resolved(database, filters), newest)


def test_what_is_forgotten_is_resolved_anew_even_while_it_is_being_resolved(
    database: Database, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters, times, ask = ResolvedFilters(), [], facets.ids_where

    def ask_and_forget(*arguments: object) -> IdArray:
        times.append(1)
        if len(times) == 1:
            filters.forget()
        return ask(*arguments)

    monkeypatch.setattr(facets, "ids_where", ask_and_forget)
    for _ in range(3):
        resolved(database, filters)
    assert len(times) == 2
    filters.forget()
    resolved(database, filters)
    assert len(times) == 3
