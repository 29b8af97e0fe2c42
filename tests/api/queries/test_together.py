"""Queries that come at once get the answers that each would get alone."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyseek import Client
from anyseek.api.queries.answering import BatchKey, PendingQuery, answer_micro_batch, batch_key
from anyseek.api.service import RequestAbandoned, RequestBudget, Service
from anyseek.model.errors import ModelError
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.modalities.reading.budget import use_budget
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.answers.paging import HitCandidate, pages_of
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery
from anyseek.search.types import Part, Query
from tests.api.conftest import picture

Ask = Callable[[Sequence[tuple[str, dict[str, Any]]]], list[httpx.Response]]
_SECONDS = 30


@pytest.fixture
def sizes() -> list[int]:
    """Of the batches that were asked at once."""
    return []


@pytest.fixture
def at_once(
    shared_service: tuple[str, Service], shapes: str, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ask]:
    """Sends requests, each a collection and a body, of which none is answered before all have come."""
    url, service = shared_service
    entered, go_on, answer_truly = threading.Semaphore(0), threading.Event(), SearchEngine.query_batch

    def hold(engine: SearchEngine, collection: str, queries: Sequence[Query], with_notes: bool = False) -> object:
        if go_on.is_set():  # not of those that hold the slots
            sizes.append(len(queries))
        entered.release()
        assert go_on.wait(_SECONDS)
        return answer_truly(engine, collection, queries, with_notes)

    def send(collection: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{url}/v1/collections/{collection}/query", json=body, timeout=2 * _SECONDS)

    def ask(requests: Sequence[tuple[str, dict[str, Any]]]) -> list[httpx.Response]:
        slots = service.pool.threads
        with monkeypatch.context() as patched, ThreadPoolExecutor(slots + len(requests)) as clients:
            patched.setattr(SearchEngine, "query_batch", hold)
            for _ in range(slots):
                clients.submit(send, shapes, {"parts": [{"item": "red disc"}]})
                assert entered.acquire(timeout=_SECONDS)
            under_way = [clients.submit(send, *request) for request in requests]
            try:
                deadline = time.monotonic() + _SECONDS
                while service.pool.pending < slots + len(requests):
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            finally:
                go_on.set()
            answers = [request.result() for request in under_way]
        return answers

    yield ask
    go_on.set()


def outcome_of(answer: httpx.Response) -> tuple[int, Any]:
    """An answer without what is different each time; scores may differ by how they were rounded."""
    members = answer.json()
    members.pop("request_id", None)
    for hit in members.get("hits", []):
        hit["score"] = pytest.approx(hit["score"], abs=1e-5)
    return answer.status_code, members


def test_each_gets_the_answer_that_it_gets_alone(
    at_once: Ask, http: httpx.Client, shapes: str, sizes: list[int]
) -> None:
    bodies: list[dict[str, Any]] = [
        {"parts": [{"text": "a red disc"}], "k": 3},
        {"parts": [{"text": "a green bar of some length, and words that nobody looks for"}], "k": 1},
        {"parts": [{"text": "blue"}], "space": "nowhere"},
        {"parts": [{"text": "blue", "weight": 0.0}]},
        {"parts": [{"text": "a box"}], "offset": 2, "k": 2},
        {"parts": [{"text": "a box"}], "min_score": 0.99},
        {"parts": [{"text": "a box"}], "cursor": "no-such-page"},
        {"parts": [{"text": "a disc"}], "where": "width >="},
        {"parts": [{"text": "a disc"}], "where": "nothing = 1"},
        {"parts": [{"text": "a disc"}], "where": '@key ~ "red*"'},
        {"parts": [{"item": "no such item"}]},
        {"parts": [{"item": "blue box"}, {"item": "red box", "weight": -1}]},
        {"parts": [{"modality": "words", "text": "green disc"}]},
    ]
    alone = [outcome_of(http.post(f"/v1/collections/{shapes}/query", json=body)) for body in bodies]
    assert {status for status, _ in alone} >= {200, 404, 422}
    together = at_once([(shapes, body) for body in bodies])
    assert [outcome_of(answer) for answer in together] == alone
    assert max(sizes) >= 5


def test_what_concerns_a_whole_batch_reaches_that_batch_alone(at_once: Ask, shapes: str) -> None:
    bodies = [{"parts": [{"text": f"a disc {number}"}]} for number in range(3)]
    answers = at_once([("nowhere", body) for body in bodies] + [(shapes, body) for body in bodies])
    assert [answer.status_code for answer in answers] == [404] * 3 + [200] * 3
    assert {answer.json()["type"] for answer in answers[:3]} == {"urn:anyseek:collection-not-found"}
    assert len({answer.json()["request_id"] for answer in answers[:3]}) == 3


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("secret"), 500), (ModelError("no such word"), 503)])
def test_a_query_that_the_model_fails_at_fails_alone(
    at_once: Ask, shapes: str, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    embed_truly = HashingEmbedder.embed

    def fail(self: HashingEmbedder, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        if any(sample.values.get("caption") == "poison" for sample in samples):
            raise error
        return embed_truly(self, samples, spaces)

    monkeypatch.setattr(HashingEmbedder, "embed", fail)
    texts = ["a red disc", "poison", "a blue bar"]
    answers = at_once([(shapes, {"parts": [{"text": text}], "k": 1}) for text in texts])
    assert [answer.status_code for answer in answers] == [200, status, 200]
    assert [answer.json()["hits"][0]["key"] for answer in answers[::2]] == ["red disc", "blue bar"]
    assert "secret" not in answers[1].text


def test_more_than_a_batch_may_have_are_several_batches(
    at_once: Ask, shapes: str, shared_service: tuple[str, Service], sizes: list[int]
) -> None:
    most = shared_service[1].limits.queries_per_batch
    answers = at_once([(shapes, {"parts": [{"text": f"disc {number}"}]}) for number in range(most + 3)])
    assert [answer.status_code for answer in answers] == [200] * (most + 3)
    assert sorted(sizes) == [3, most]


def test_paths_are_only_for_those_of_a_batch_who_may_see_them(
    shared_service: tuple[str, Service], root: Path, collection: str
) -> None:
    url, service = shared_service
    folder = root / "together"
    folder.mkdir()
    (folder / "red.png").write_bytes(picture("red", "disc"))
    with Client(url) as client:
        job = client.index_folder(collection, str(folder))
        assert [seen["job"]["state"] for seen in client.watch(job["id"])][-1] == "done"
    query = Query([Part("caption", text="red")])
    pending = [PendingQuery(query, paths, copy_context()) for paths in (True, False)]
    key = batch_key(collection, query)
    assert key is not None
    with_path, without = [answer for answer in answer_micro_batch(service, key, pending) if isinstance(answer, bytes)]
    assert str(folder).encode() in with_path
    assert str(folder).encode() not in without


def test_a_batch_of_wrong_queries_tells_each_what_is_wrong(shared_service: tuple[str, Service], shapes: str) -> None:
    wrong = Query([Part(text="a", data="b")])
    pending = [PendingQuery(wrong, False, copy_context()) for _ in range(2)]
    outcomes = answer_micro_batch(shared_service[1], BatchKey(shapes, frozenset(), False), pending)
    assert [type(one) for one in outcomes] == [BadQuery, BadQuery]


def test_a_client_that_leaves_while_its_batch_is_answered_takes_only_its_own_query_along(
    shared_service: tuple[str, Service], shapes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets, embed_truly = [RequestBudget(100, 1.0), RequestBudget(100, 1.0)], HashingEmbedder.embed

    def leave(self: HashingEmbedder, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        budgets[0].abandon()
        return embed_truly(self, samples, spaces)

    monkeypatch.setattr(HashingEmbedder, "embed", leave)
    query, pending = Query([Part("caption", text="a red disc")]), []
    for budget in budgets:
        with use_budget(budget):
            pending.append(PendingQuery(query, False, copy_context()))
    key = batch_key(shapes, query)
    assert key is not None
    with use_budget(budgets[0]):  # a batch runs in the context of the first that came
        outcomes = answer_micro_batch(shared_service[1], key, pending)
        assert isinstance(outcomes[1], bytes)
        assert isinstance(answer_micro_batch(shared_service[1], key, pending[:1])[0], RequestAbandoned)


@pytest.mark.parametrize(
    "members",
    [
        {"k": 101},
        {"k": 60, "offset": 50},
        {"vectors": True},
        {"group_by": "album"},
        {"group_size": 2},
        {"facets": ["album"]},
        {"spaces": ["a", "b"]},
        {"parts": [Part("rgb", data="iVBORw0KGgo=")]},
        {"parts": [Part(item="a", collection="d")]},
        {"parts": [Part(item="a", box=(0, 0, 0.5, 1))]},
        {"parts": [Part(item="a", mask=b"")]},
    ],
)
def test_queries_that_cost_more_than_others_are_answered_alone(members: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"parts": [Part("caption", text="a dog")]}
    assert batch_key("c", Query(**plain)) == batch_key("c", Query(**plain, facets=[], k=100))
    assert batch_key("c", Query(**(plain | members))) is None


def test_a_cursor_makes_a_query_as_heavy_as_the_hits_that_were_seen() -> None:
    """However short it is: the numbers of neighbours compress well."""

    def after(seen: int, k: int = 10) -> BatchKey | None:
        query = Query((Part("caption", "a dog"),), seen)
        cursor = pages_of(query, 1, 10_000).next_cursor(
            query, [HitCandidate(number, 0.5, number) for number in range(seen)]
        )
        assert len(cursor) < 400
        return batch_key("c", Query([Part("caption", text="a dog")], k, cursor=cursor))

    assert after(90) is not None
    assert after(91) is None
    assert after(1_000) is None
    assert batch_key("c", Query([Part("caption", text="a dog")], cursor="damaged")) is None


def test_queries_of_other_collections_kinds_or_with_filters_are_other_batches() -> None:
    dog = Part(text="a dog")
    several = [
        batch_key("c", Query([dog])),
        batch_key("d", Query([dog])),
        batch_key("c", Query([dog], where="width > 1")),
        batch_key("c", Query([Part(item="a")])),
        batch_key("c", Query([Part(vector=[1.0])])),
        batch_key("c", Query([dog, Part("words", text="a dog")])),
    ]
    assert len(set(several)) == len(several)
