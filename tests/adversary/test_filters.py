"""Filters that took minutes, and many at once that kept every other read waiting."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from anyseek.api.service import Service
from anyseek.search.catalogue import facets
from anyseek.search.filters.tree import Filter
from anyseek.search.settings import Limits
from anyseek.search.types import IdArray
from tests.api.conftest import LIMITS, THREADS, problem, serving
from tests.search.gallery import begin_catalogue

_WHERE = {"where": "n > 0 and m = 2"}
_BOTH = {"and": [{"field": "n", "gt": 0}, {"field": "n", "lt": 2}]}
_ENDLESS = text("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n")


@contextmanager
def _victim(home: Path, limits: Limits = LIMITS) -> Iterator[tuple[httpx.Client, Service]]:
    """A service with one item, and its collection."""
    begin_catalogue(home)
    with serving(home, limits=limits) as (client, service):
        client.create_collection("a")
        client.put_item("a", "x", caption="x", attributes={"n": 1})
        with httpx.Client(base_url=f"{client.url}/v1/collections/a", timeout=60) as http:
            yield http, service


def _query(where: object, modality: str = "caption") -> dict[str, Any]:
    return {"parts": [{"modality": modality, "text": "x"}], "where": where}


def test_filters_that_take_too_long_are_refused_by_name(tmp_path: Path) -> None:
    limits = replace(LIMITS, filter_seconds=1e-9, filter_seconds_per_batch=1e-9)
    with _victim(tmp_path, limits) as (http, _):
        for answer in (
            http.get("/items", params=_WHERE),
            http.get("/facets", params=_WHERE),
            http.post("/query", json=_query(_WHERE["where"])),
            http.post("/query", json=_query(_WHERE["where"], "words")),
            http.post("/query/batch", json={"queries": [_query("k = 3"), _query(_WHERE["where"])]}),
        ):
            problem(answer, 413, "limit-exceeded")
            assert re.match("the (filter on|search for) ", answer.json()["detail"])
        assert http.get("/items").status_code == 200
        assert http.post("/query", json=_query(None)).status_code == 200


def test_a_filter_of_too_many_nodes_is_refused(tmp_path: Path) -> None:
    with _victim(tmp_path) as (http, _service):
        deep: object = {"field": "n", "eq": 1}
        for _ in range(10):
            deep = {"not": {"and": [deep]}}
        answer = http.post("/query", json=_query({"or": [deep] * 30}))
        problem(answer, 422, "bad-filter")
        assert "the filter has 631 conditions, ands, ors and nots; at most 600" in answer.json()["detail"]


def test_a_batch_of_too_many_conditions_is_refused_whole(tmp_path: Path) -> None:
    with _victim(tmp_path, replace(LIMITS, conditions_per_batch=4)) as (http, _service):
        allowed = [_query("n > 0 and m = 2")] * 2 + [_query("k in (1, 2)"), _query(None)]
        many = _query(" or ".join(["n = 1"] * 201))  # which is refused alone
        answer = http.post("/query/batch", json={"queries": [*allowed, many]})
        assert "201 conditions" in answer.json()["results"][-1]["error"]
        answer = http.post("/query/batch", json={"queries": [*allowed, _query("k = 3")]})
        problem(answer, 413, "limit-exceeded")
        assert "have at most 4 conditions; those of this one have 5" in answer.json()["detail"]


def test_a_filter_of_a_batch_is_evaluated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[Filter] = []
    evaluate = facets.matching_ids

    def counted(session: Session, collection_id: int, where: Filter, *rest: IdArray) -> IdArray:
        evaluated.append(where)
        return evaluate(session, collection_id, where, *rest)

    monkeypatch.setattr(facets, "matching_ids", counted)
    with _victim(tmp_path) as (http, _):
        same = ["n > 0 and n < 2", "not not (n > 0 and n < 2)", {"not": {"not": _BOTH}}]
        answer = http.post("/query/batch", json={"queries": [_query(where) for where in same * 3]})
        assert [len(result["hits"]) for result in answer.json()["results"]] == [1] * 9
    assert len(evaluated) == 1


def test_a_filter_of_a_client_that_has_left_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def evaluate(session: Session, *rest: object) -> IdArray:
        begun.set()
        session.execute(_ENDLESS)
        raise AssertionError("this never ends by itself")

    monkeypatch.setattr(facets, "matching_ids", evaluate)
    with _victim(tmp_path) as (http, service):
        with socket.create_connection((http.base_url.host, http.base_url.port or 80)) as leaving:
            leaving.sendall(b"GET /v1/collections/a/items?where=n=1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert begun.wait(60)
        _until(lambda: service.filtered_reads.slots.borrowed_tokens == 0)


def test_reads_with_filters_leave_threads_to_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, nothing = threading.Event(), np.empty(0, np.int64)

    def evaluate(*given: object) -> IdArray:
        assert go_on.wait(60)
        return nothing

    monkeypatch.setattr(facets, "matching_ids", evaluate)
    with _victim(tmp_path) as (http, service), ThreadPoolExecutor(THREADS) as pool:
        asked = [pool.submit(httpx.get, f"{http.base_url}{path}?where=n=1", timeout=60) for path in _paths(THREADS)]
        try:
            _until(lambda: service.filtered_reads.pending == THREADS)
            assert http.get("/folders").status_code == 200
            assert http.get("/items").status_code == 200
        finally:
            go_on.set()
        assert {answer.result().status_code for answer in asked} == {200}


def _paths(count: int) -> Sequence[str]:
    return [("items", "facets")[number % 2] for number in range(count)]


def _until(is_so: Callable[[], bool]) -> None:
    patience = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < patience
        time.sleep(0.02)
