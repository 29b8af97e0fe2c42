"""Micro-batching: concurrent queries are answered in one pass of the model and of the index.

Only queries of about the same cost are batched: without files and items of other collections, with few hits (those on
earlier pages count, too), and without facets, vectors or explanations. So a query never waits for a far larger one
in its batch.

A call that finds a free slot starts at once, so a lone caller never waits for others. Calls that arrive while all
slots are taken are collected, and answered together when a slot becomes free.
"""

import asyncio
import json
import math
from collections.abc import Callable, Hashable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
from anyio import to_thread
from pydantic import TypeAdapter
from sqlalchemy import exc

from anyseek.api.contents import decode_query, read_query
from anyseek.api.http.metrics import BATCHED_QUERIES
from anyseek.api.service import Pool, Service
from anyseek.model.errors import ModelError
from anyseek.model.modalities.reading.budget import Budget, raise_if_abandoned, use_budget
from anyseek.search.answers.paging import BadCursor, count_seen
from anyseek.search.answers.results import Hit, Refusal, Results
from anyseek.search.assets.pictures import PictureOf
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError, BadQuery, CollectionNotFound, IndexUnavailable, LimitExceeded
from anyseek.search.filters.tree import MAX_CONDITIONS, count_conditions
from anyseek.search.query.multi_collection import query_collections
from anyseek.search.query.query import Part, Query, QueryOfSeveral, hits_of, word_parts_of
from anyseek.search.settings import Limits
from anyseek.search.telemetry.spans import Stage, time_stage

_RESULTS: TypeAdapter[Results] = TypeAdapter(Results)
K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")


_MAX_BATCH = 32
# A GPU takes far larger batches, one after another; while one is computed, the next is read. With a slot for
# each CPU, calls would be spread over passes that wait for each other.
_MAX_BATCH_GPU, _SLOTS_GPU = 128, 2
_MAX_BATCHED_HITS = 100
# Members that hardly change a query's cost. A query with any other member, also a future one, is not batched.
_CHEAP_MEMBERS = ("parts", "k", "space", "where", "fusion", "offset", "min_score", "min_probability", "cursor")
# Errors that every query of the batch would get alone, too.
_BATCH_ERRORS = (CollectionNotFound, IndexUnavailable, exc.OperationalError, exc.TimeoutError, OSError)


@dataclass(frozen=True)
class _Call(Generic[Q, A]):
    """A request and the future of its answer, which is cancelled if the caller disconnects."""

    request: Q
    answer: "asyncio.Future[A]"


class MicroBatcher(Generic[K, Q, A]):
    """Batches concurrent calls of the same key. All methods run on the event loop.

    `answer` runs in a thread. It takes a key with at most `max_batch` requests, and returns an answer for each in
    order, or the exception for its caller; what it raises goes to all callers of the batch. With `slots` the batcher
    has its own slots instead of the pool's.
    """

    def __init__(
        self,
        pool: Pool,
        answer: Callable[[K, Sequence[Q]], Sequence[A | Exception]],
        max_batch: int,
        slots: int | None = None,
    ) -> None:
        self._pool = pool
        self._slots = pool.slots if slots is None else anyio.CapacityLimiter(slots)
        self._answer = answer
        self._max_batch = max_batch
        self._threads = anyio.CapacityLimiter(math.inf)  # a batch that has a slot needs no other limit
        self._waiting: dict[K, list[_Call[Q, A]]] = {}  # batches without a slot yet
        self._batches: set[asyncio.Task[None]] = set()  # the event loop holds only weak references to tasks

    async def submit(self, key: K, request: Q) -> A:
        """The answer to one request; a cancelled caller leaves its batch without affecting the others.

        Raises the request's error, and `Busy` if too many calls are waiting.
        """
        with self._pool.abandonable():
            call = _Call[Q, A](request, asyncio.get_running_loop().create_future())
            batch = self._waiting.get(key)
            if batch is None or len(batch) >= self._max_batch:
                batch = self._waiting[key] = []
                task = asyncio.create_task(self._run_batch(key, batch))
                self._batches.add(task)
                task.add_done_callback(self._batches.discard)
            batch.append(call)
            return await call.answer

    async def _run_batch(self, key: K, batch: list[_Call[Q, A]]) -> None:
        """Answer a batch when a slot is free. Whatever happens, no caller is left waiting."""
        try:
            try:
                self._slots.acquire_nowait()  # `async with` would yield to the event loop even if a slot is free
            except anyio.WouldBlock:
                await self._slots.acquire()
            try:
                if self._waiting.get(key) is batch:
                    del self._waiting[key]
                pending = [call for call in batch if not call.answer.done()]
                if pending:
                    await self._answer_calls(key, pending)
            finally:
                self._slots.release()
        finally:
            for call in batch:
                call.answer.cancel()  # no effect on calls that are answered

    async def _answer_calls(self, key: K, batch: Sequence[_Call[Q, A]]) -> None:
        BATCHED_QUERIES.observe(len(batch))
        requests = [call.request for call in batch]
        outcomes: Sequence[A | Exception]
        try:
            outcomes = await to_thread.run_sync(self._answer, key, requests, limiter=self._threads)
        except Exception as error:  # noqa: BLE001  goes to every caller
            outcomes = [error] * len(batch)
        for call, outcome in zip(batch, outcomes, strict=True):
            if call.answer.done():
                continue  # its caller has disconnected
            if isinstance(outcome, Exception):
                call.answer.set_exception(outcome)
            else:
                call.answer.set_result(outcome)


@dataclass(frozen=True)
class BatchKey:
    """The key of a batch: its samples have the same modalities, and filtered queries delay no others."""

    collection: str
    kinds: frozenset[str]
    filtered: bool


@dataclass(frozen=True)
class PendingQuery:
    """A query that is not decoded yet, with the context of its request; `paths`: its caller may see paths of files."""

    query: Query
    paths: bool
    context: Context


QueryBatcher = MicroBatcher[BatchKey, PendingQuery, bytes]


def create_query_batcher(service: Service) -> QueryBatcher:
    """The micro-batcher of a service's queries."""
    max_batch = min(_MAX_BATCH_GPU if service.may_use_gpu else _MAX_BATCH, service.limits.queries_per_batch)
    slots = _SLOTS_GPU if service.may_use_gpu else None
    return MicroBatcher(service.pool, partial(answer_micro_batch, service), max_batch, slots)


def batch_key(collection: str, query: Query) -> BatchKey | None:
    """The key of the batches that a query may join; None for one that is answered alone."""
    if _depth_of(query) > _MAX_BATCHED_HITS or any(map(_needs_files, query.parts)):
        return None
    more = [each for each in fields(query) if each.name not in _CHEAP_MEMBERS]
    if any(getattr(query, each.name) not in (each.default, []) for each in more):
        return None
    return BatchKey(collection, frozenset(_content_kind(part) for part in query.parts), query.where is not None)


def _depth_of(query: Query) -> float:
    """How many of the best hits a query ranks; infinite for a damaged cursor, so that it is refused alone."""
    try:
        return query.k + query.offset + (count_seen(query.cursor) if query.cursor else 0)
    except BadCursor:
        return math.inf


def pending_query(query: Query, paths: bool) -> PendingQuery:
    """A validated query with the current context."""
    return PendingQuery(query, paths, copy_context())


def answer_micro_batch(service: Service, key: BatchKey, batch: Sequence[PendingQuery]) -> list[bytes | Exception]:
    """The JSON of each answer, or the error of that query.

    Raises errors of the whole batch, such as `CollectionNotFound`.
    """
    return service.runtime.retry_all_on_switch(partial(_answer_pending, service, key, batch))


def _answer_pending(service: Service, key: BatchKey, batch: Sequence[PendingQuery]) -> list[bytes | Exception]:
    engine, pictures = service.engine_for(key.collection), service.runtime.pictures_of(key.collection)
    outcomes: list[Any] = [
        call.context.run(_attempt, _decode, call.query, engine, service.limits, pictures) for call in batch
    ]
    queries = [(call.context, query) for call, query in zip(batch, outcomes, strict=True) if isinstance(query, Query)]
    results = iter(_query_all(engine, key.collection, queries, service.limits))
    outcomes = [next(results) if isinstance(outcome, Query) else outcome for outcome in outcomes]
    return [
        _attempt(results_json, outcome, call.paths, service.limits) if isinstance(outcome, Results) else outcome
        for call, outcome in zip(batch, outcomes, strict=True)
    ]


def answer_query(service: Service, collection: str, query: Query, paths: bool) -> bytes:
    """The JSON of the answer to one query. Raises the query's error."""

    def answer() -> Results:
        engine = service.engine_for(collection)
        return engine.query(collection, _decode(query, engine, service.limits, service.runtime.pictures_of(collection)))

    return results_json(service.runtime.retry_on_switch(answer), paths, service.limits)


def answer_multi_collection(service: Service, query: QueryOfSeveral, paths: bool) -> bytes:
    """The JSON of the answer to a query of several collections. Raises the query's error."""
    pictures = service.runtime.pictures_of(query.collections[0])

    def decode(engine: SearchEngine) -> Query:
        return _decode(query, engine, service.limits, pictures)

    results = service.runtime.retry_on_switch(lambda: query_collections(query.collections, service.engine_for, decode))
    return results_json(results, paths, service.limits)


def pool_for(service: Service, query: Query) -> Pool:
    """The pool for a query that is not micro-batched."""
    return service.heavy_queries if any(map(_needs_files, query.parts)) else service.pool


def _needs_files(part: Part) -> bool:
    """Whether a part needs a file or another collection."""
    return any(content is not None for content in (part.data, part.collection, part.box, part.mask))


def _content_kind(part: Part) -> str:
    if part.item is not None:
        return "item"
    return "vector" if part.vector is not None else part.modality or "caption"


def _decode(query: Query, engine: SearchEngine, limits: Limits, pictures: PictureOf) -> Query:
    with time_stage(Stage.DECODE):
        return decode_query(query, limits, engine.embedder, pictures)


def _attempt(work: Callable[..., T], *args: Any) -> T | Exception:
    try:
        return work(*args)
    except Exception as error:  # noqa: BLE001  returned to the caller of this query only
        return error


def _query_all(
    engine: SearchEngine, collection: str, queries: Sequence[tuple[Context, Query]], limits: Limits
) -> Sequence[Results | Exception]:
    """The results or error of each query; after an error that one query may have caused, each runs alone."""
    if not queries:
        return []
    try:
        if len(queries) == 1:
            context, query = queries[0]
            return context.run(engine.query_batch, collection, [query], with_notes=True)
        # Nothing is decoded here, and a disconnect abandons only that client's answer.
        with use_budget(Budget(0, 0.0, limits.filter_seconds)):
            return engine.query_batch(collection, [query for _, query in queries], with_notes=True)
    except _BATCH_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001  returned to its caller
        if len(queries) == 1:
            return [error]
    return [_attempt(context.run, engine.query, collection, query) for context, query in queries]


def results_json(results: Results, with_paths: bool, limits: Limits) -> bytes:
    """The JSON of results, without paths unless `with_paths`.

    Raises `LimitExceeded` if the captions and attributes of the hits are too long for one answer.
    """
    size = sum(len(hit.caption or "") + len(json.dumps(dict(hit.attributes))) for hit in results.hits)
    if size > limits.bytes_per_answer:
        raise LimitExceeded(
            f"the captions and attributes of {len(results.hits):,} hits have {size:,} bytes; an answer has at most "
            f"{limits.bytes_per_answer:,}: ask for fewer, or for a batch, whose hits have neither"
        )
    if not with_paths:
        results = replace(results, hits=tuple(replace(hit, path=None) for hit in results.hits))
    return _RESULTS.dump_json(results)


def check_batch(queries: Sequence[Any], limits: Limits) -> None:
    """Raises `LimitExceeded` for a batch with too many queries, parts of modality words, or requested hits."""
    if len(queries) > limits.queries_per_batch:
        raise LimitExceeded(f"a batch has at most {limits.queries_per_batch:,} queries; this one has {len(queries):,}")
    sent = [query for query in queries if isinstance(query, dict)]
    words = sum(min(word_parts_of(query), limits.parts) for query in sent)
    if words > limits.words_per_batch:
        raise LimitExceeded(
            f"a batch has at most {limits.words_per_batch:,} parts of the modality words; this one has {words:,}"
        )
    hits = sum(min(hits_of(query), limits.hits) for query in sent)
    if hits > limits.hits_per_batch:
        raise LimitExceeded(f"a batch asks for at most {limits.hits_per_batch:,} hits in all; this one for {hits:,}")


def answer_batch(service: Service, collection: str, members: Sequence[Any]) -> list[Results | Exception]:
    """The results of each query in JSON, in order; an invalid query yields its error and does not affect the others.

    Raises errors of the whole batch, such as `CollectionNotFound`.
    """
    engine, pictures = service.engine_for(collection), service.runtime.pictures_of(collection)
    with time_stage(Stage.DECODE):
        outcomes = [_read_brief(query, engine, service.limits, pictures) for query in members]
    queries = [query for query in outcomes if isinstance(query, Query)]
    _check_filters(queries, service.limits)
    results = iter(engine.query_batch(collection, queries))
    return [next(results) if isinstance(outcome, Query) else outcome for outcome in outcomes]


def _check_filters(queries: Sequence[Query], limits: Limits) -> None:
    """Raises `LimitExceeded` if the distinct filters of a batch, apart from invalid ones, have too many conditions."""
    counts = map(count_conditions, {query.where for query in queries if query.where is not None})
    count = sum(count for count in counts if count <= MAX_CONDITIONS)
    if count > limits.conditions_per_batch:
        raise LimitExceeded(
            f"the distinct filters of a batch have at most {limits.conditions_per_batch:,} conditions; those of this "
            f"one have {count:,}"
        )


def brief_answer(outcome: Results | Exception) -> Results | Refusal:
    """An answer of a batch: its hits have neither captions nor attributes."""
    if isinstance(outcome, Exception):
        return Refusal(str(outcome))
    hits = [Hit(hit.key, hit.score, hit.rank, group=hit.group, probability=hit.probability) for hit in outcome.hits]
    return Results(tuple(hits), outcome.space, outcome.fusion, outcome.note)


def _read_brief(members: Any, engine: SearchEngine, limits: Limits, pictures: PictureOf) -> Query | Exception:
    """A decoded query of a batch, or its error. Raises what `raise_if_abandoned` raises."""
    raise_if_abandoned()
    try:
        query = read_query(members, limits, engine.embedder, pictures)
    except (AnyseekError, ModelError) as error:
        return error
    for given, sentence in (
        (query.vectors, "hits of a batch have no vectors"),
        (query.facets or query.cursor, "answers of a batch have neither facets nor further pages"),
        (query.is_explained, "hits of a batch are not explained"),
    ):
        if given:
            return BadQuery(f"{sentence}; send this query by itself")
    return query
