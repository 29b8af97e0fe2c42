"""Batches of full text, of which 1,000 queries with 16 parts of words each took minutes and gigabytes."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from anyseek.api.service import RequestAbandoned, RequestBudget
from anyseek.model.modalities.reading.budget import use_budget
from anyseek.search import engine as engines
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.query.query import Part, Query
from anyseek.search.query.rankings import Ranking
from anyseek.search.settings import Limits
from tests.api.conftest import LIMITS, problem, serving
from tests.search.engines import engine_over
from tests.search.gallery import begin_catalogue

_MATCH = "words_index MATCH"


@contextmanager
def _victim(home: Path, limits: Limits) -> Iterator[tuple[httpx.Client, Database]]:
    """A service with a collection of one item, x, and its catalogue."""
    begin_catalogue(home)
    with serving(home, limits=limits) as (client, service):
        client.create_collection("a")
        client.put_item("a", "x", caption="red dog")
        with httpx.Client(base_url=f"{client.url}/v1/collections/a", timeout=60) as http:
            yield http, service.runtime.database


@contextmanager
def _searched(database: Database, then: Callable[[], object] = lambda: None) -> Iterator[list[str]]:
    """The words searched for in the block; `then` is called before each of these statements."""
    searched: list[str] = []

    def note(connection: object, cursor: object, statement: str, parameters: Sequence[str], *_: object) -> None:
        if _MATCH in statement:
            searched.append(parameters[0])
            then()

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield searched
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def _query(*texts: str) -> dict[str, Any]:
    return {"parts": [{"modality": "words", "text": text} for text in texts]}


def _words(text: str) -> Query:
    return Query((Part("words", text),))


def test_words_of_a_batch_are_limited_and_those_of_a_refused_query_count_no_more_than_it_may_have(
    tmp_path: Path,
) -> None:
    with _victim(tmp_path, replace(LIMITS, words_per_batch=18)) as (http, _):
        refused = http.post("/query/batch", json={"queries": [_query("a", "b")] * 9 + [_query("c")]})
        problem(refused, 413, "limit-exceeded")
        assert "at most 18 parts of the modality words; this one has 19" in refused.json()["detail"]
        allowed = http.post("/query/batch", json={"queries": [_query(*"a" * 500), _query("dog", "red")]})
        assert ["hits" in result and bool(result["hits"]) for result in allowed.json()["results"]] == [False, True]


def test_the_same_words_of_a_batch_are_searched_once(tmp_path: Path) -> None:
    same = [_query("Red dogs", "dog, red"), _query("dog RED", "red dog red")]
    with _victim(tmp_path, LIMITS) as (http, database), _searched(database) as searched:
        answer = http.post("/query/batch", json={"queries": same * 4})
        assert [hit["key"] for result in answer.json()["results"] for hit in result["hits"]] == ["x"] * 8
    assert len(searched) == 2


def test_full_text_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    limits = replace(LIMITS, filter_seconds=1e-9, filter_seconds_per_batch=1e-9)
    with _victim(tmp_path, limits) as (http, _):
        for path, body in (("/query", _query("dog")), ("/query/batch", {"queries": [_query("dog")]})):
            answer = http.post(path, json=body)
            problem(answer, 413, "limit-exceeded")
            assert "the search for 'dog' is not evaluated" in answer.json()["detail"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SearchEngine]:
    with engine_over(tmp_path, lambda things: things.put(("a", "b"), "dog")) as engine:
        yield engine


def test_nothing_more_is_searched_for_a_client_that_has_left(engine: SearchEngine) -> None:
    budget = RequestBudget(0, 0.0)
    with _searched(engine._database, budget.abandon) as searched, use_budget(budget), pytest.raises(RequestAbandoned):
        engine.query_batch("things", [_words(f"dog {number}") for number in range(20)])
    assert len(searched) == 1


def test_no_ranking_outlives_its_query(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Ranking]] = []
    alive: list[int] = []
    note = engines.score_note

    def counted(query: Query, found: Ranking) -> str | None:
        made.append(weakref.ref(found))
        alive.append(sum(ranking() is not None for ranking in made))
        return note(query, found)

    monkeypatch.setattr(engines, "score_note", counted)
    engine.query_batch("things", [_words(f"dog {number}") for number in range(20)])
    assert len(made) == 20
    assert max(alive) <= 2
    assert not any(ranking() for ranking in made)
