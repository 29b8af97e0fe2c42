"""Filters that were resolved before: brought up to date from the log, and always what asking for all would give."""

import numpy as np
import pytest
from sqlalchemy import event

from anyseek.search.catalogue import collections, facets, log
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import Filter, checked
from anyseek.search.spaces import filter_cache
from anyseek.search.spaces.filter_cache import FilterCache
from anyseek.search.types import IdArray
from tests.search.gallery import Things

WHERE = checked(filter_from_text("n >= 3 and not n = 5 or @key starts with z"))


@pytest.fixture
def things(things: Things) -> Things:
    put(things, {f"k{n}": n for n in range(8)})
    return things


def put(things: Things, numbers: dict[str, int]) -> None:
    things.put_with({key: {"n": n} for key, n in numbers.items()})


def resolved(things: Things, filters: FilterCache, where: Filter = WHERE) -> IdArray:
    with things.database.read() as session:
        return filters.resolve(session, collections.head(session, "things"), [where])[where]


def anew(things: Things) -> IdArray:
    with things.database.read() as session:
        return facets.matching_ids(session, things.collection.id, WHERE)


def change(things: Things) -> None:
    """Items come, go, begin to pass and pass no more."""
    put(things, {"k1": 9, "k4": 0, "z": 0, "new": 3})
    things.remove(["k6"])


def test_after_changes_it_is_what_asking_for_all_gives(things: Things) -> None:
    filters = FilterCache()
    before = resolved(things, filters)
    change(things)
    after = resolved(things, filters)
    np.testing.assert_array_equal(after, anew(things))
    assert before.tolist() != after.tolist()


def test_only_what_has_changed_is_looked_at(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    filters, looked_at, ask = FilterCache(), [], facets.matching_ids

    def ask_and_note(*arguments: object) -> IdArray:
        looked_at.append(None if len(arguments) < 4 else len(arguments[3]))
        return ask(*arguments)

    monkeypatch.setattr(facets, "matching_ids", ask_and_note)
    resolved(things, filters)
    resolved(things, filters)
    change(things)
    resolved(things, filters)
    assert looked_at == [None, 5]


def test_nothing_is_asked_while_nothing_changes(things: Things) -> None:
    filters = FilterCache()
    resolved(things, filters)
    asked: list[str] = []
    event.listen(things.database.engine, "before_cursor_execute", lambda *call: asked.append(call[2].split()[0]))
    resolved(things, filters)
    assert asked == ["BEGIN", "SELECT"]  # the head


@pytest.mark.parametrize("many", [True, False])
def test_after_many_changes_or_a_compaction_all_is_asked_for_again(
    things: Things, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    filters = FilterCache()
    resolved(things, filters)
    change(things)
    if many:
        monkeypatch.setattr(filter_cache, "MAX_CHANGED", 2)
    else:
        with things.database.write() as session:
            log.compact(session, things.collection.id, collections.head(session, "things").last_seq)
    np.testing.assert_array_equal(resolved(things, filters), anew(things))


def test_a_reader_that_began_earlier_does_not_set_it_back(things: Things) -> None:
    filters = FilterCache()
    with things.database.read() as session:
        earlier = collections.head(session, "things")
        change(things)
        newest = resolved(things, filters)
        np.testing.assert_array_equal(filters.resolve(session, earlier, [WHERE])[WHERE], newest)
    np.testing.assert_array_equal(resolved(things, filters), newest)


def test_what_is_forgotten_is_resolved_anew_even_while_it_is_being_resolved(
    things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters, times, ask = FilterCache(), [], facets.matching_ids

    def ask_and_forget(*arguments: object) -> IdArray:
        times.append(1)
        if len(times) == 1:
            filters.clear()
        return ask(*arguments)

    monkeypatch.setattr(facets, "matching_ids", ask_and_forget)
    for _ in range(3):
        resolved(things, filters)
    assert len(times) == 2
    filters.clear()
    resolved(things, filters)
    assert len(times) == 3
