"""Queries that come at once are answered in one pass of the model and of the index.

Only those are that cost about the same: without files and items of other collections, with few hits (those on the
pages before count, too), and without what is counted or read beside them. So a query never waits for a far larger one
in its batch.

A call that finds a turn begins at once, so a lone caller never waits for others. Calls that come while all turns are
taken gather, and whoever is there when a turn comes is answered in one go.
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

from anyseek.api.contents import decoded, read_query
from anyseek.api.http.metrics import BATCHED_QUERIES
from anyseek.api.service import Pool, Service
from anyseek.model.errors import ModelError
from anyseek.model.modalities.reading.budget import Budget, raise_if_abandoned, spending
from anyseek.search.answers.paging import BadCursor, count_seen
from anyseek.search.answers.results import Hit, Refusal, Results
from anyseek.search.assets import PictureOf
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError, BadQuery, CollectionNotFound, IndexUnavailable, LimitExceeded
from anyseek.search.filters.tree import MOST_CONDITIONS, count_conditions
from anyseek.search.query.multi_collection import query_collections
from anyseek.search.query.query import Part, Query, QueryOfSeveral, hits_of, word_parts_of
from anyseek.search.settings import Limits
from anyseek.search.telemetry.spans import Stage, time_stage

_RESULTS: TypeAdapter[Results] = TypeAdapter(Results)
K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")


_MOST_TOGETHER = 32
# A card takes far more at once, in one pass after another; while one is computed, the next is read. With a turn for
# each processor, calls would be spread over passes that wait for each other.
_MOST_ON_CARD, _TURNS_ON_CARD = 128, 2
_MOST_HITS = 100
# Members that make a query little more costly. A query with any other, or one that is yet to come, is answered alone.
_LIGHT = ("parts", "k", "space", "where", "fusion", "offset", "min_score", "min_probability", "cursor")
# What would go wrong with each query of the batch alone, too.
_OF_ALL = (CollectionNotFound, IndexUnavailable, exc.OperationalError, exc.TimeoutError, OSError)


@dataclass(frozen=True)
class _Call(Generic[Q, A]):
    """A question and the future in which its caller waits for the answer; a caller who left has cancelled it."""

    question: Q
    answer: "asyncio.Future[A]"


class Gathering(Generic[K, Q, A]):
    """Calls that take turns in a pool, those of the same key together. All its methods run on the event loop.

    `answer` runs in a thread. It is given a key with at most `most` calls, and returns an answer for each in their
    order, or the exception that its caller gets; what it raises, all callers of that batch get. With `turns` there are
    as many of their own, and those of the pool are left to others.
    """

    def __init__(
        self,
        pool: Pool,
        answer: Callable[[K, Sequence[Q]], Sequence[A | Exception]],
        most: int,
        turns: int | None = None,
    ) -> None:
        self._pool = pool
        self._turns = pool.turns if turns is None else anyio.CapacityLimiter(turns)
        self._answer = answer
        self._most = most
        self._threads = anyio.CapacityLimiter(math.inf)  # a batch that has its turn needs no other
        self._waiting: dict[K, list[_Call[Q, A]]] = {}  # those whose turn has not come
        self._batches: set[asyncio.Task[None]] = set()  # the event loop itself holds tasks only weakly

    async def ask(self, key: K, question: Q) -> A:
        """The answer to one call; a caller that is cancelled leaves its batch, and the others go on.

        Raises the exception in place of the answer, and `Busy` when too many calls wait already.
        """
        with self._pool.counted():
            call = _Call[Q, A](question, asyncio.get_running_loop().create_future())
            batch = self._waiting.get(key)
            if batch is None or len(batch) >= self._most:
                batch = self._waiting[key] = []
                task = asyncio.create_task(self._take_turn(key, batch))
                self._batches.add(task)
                task.add_done_callback(self._batches.discard)
            batch.append(call)
            return await call.answer

    async def _take_turn(self, key: K, batch: list[_Call[Q, A]]) -> None:
        """Answer a batch when its turn comes. Whatever happens, no caller is left waiting."""
        try:
            try:
                self._turns.acquire_nowait()  # `async with` would go round the event loop for a free turn, too
            except anyio.WouldBlock:
                await self._turns.acquire()
            try:
                if self._waiting.get(key) is batch:
                    del self._waiting[key]
                pending = [call for call in batch if not call.answer.done()]
                if pending:
                    await self._answer_all(key, pending)
            finally:
                self._turns.release()
        finally:
            for call in batch:
                call.answer.cancel()  # nothing happens to those that are answered

    async def _answer_all(self, key: K, batch: Sequence[_Call[Q, A]]) -> None:
        BATCHED_QUERIES.observe(len(batch))
        questions = [call.question for call in batch]
        outcomes: Sequence[A | Exception]
        try:
            outcomes = await to_thread.run_sync(self._answer, key, questions, limiter=self._threads)
        except Exception as error:  # noqa: BLE001  every caller gets it
            outcomes = [error] * len(batch)
        for call, outcome in zip(batch, outcomes, strict=True):
            if call.answer.done():
                continue  # its caller has left
            if isinstance(outcome, Exception):
                call.answer.set_exception(outcome)
            else:
                call.answer.set_result(outcome)


@dataclass(frozen=True)
class Like:
    """What queries of one batch have in common: the model then gets samples of a kind, and filters delay no others."""

    collection: str
    kinds: frozenset[str]
    filtered: bool


@dataclass(frozen=True)
class Waiting:
    """A query that is yet to be decoded, in the context of its request; `paths`: its caller may see where files lie."""

    query: Query
    paths: bool
    context: Context


QueryGathering = Gathering[Like, Waiting, bytes]


def gathering_of(service: Service) -> QueryGathering:
    """Where the queries to a service meet."""
    most = min(_MOST_ON_CARD if service.may_use_card else _MOST_TOGETHER, service.limits.queries_per_batch)
    turns = _TURNS_ON_CARD if service.may_use_card else None
    return Gathering(service.pool, partial(answer_together, service), most, turns)


def like(collection: str, query: Query) -> Like | None:
    """Which other queries one is answered with; None for one that is answered alone."""
    if _reach(query) > _MOST_HITS or any(map(_needs_files, query.parts)):
        return None
    more = [each for each in fields(query) if each.name not in _LIGHT]
    if any(getattr(query, each.name) not in (each.default, []) for each in more):
        return None
    return Like(collection, frozenset(_kind(part) for part in query.parts), query.where is not None)


def _reach(query: Query) -> float:
    """How many of the best hits have to be found; infinitely many for a damaged cursor, which is refused alone."""
    try:
        return query.k + query.offset + (count_seen(query.cursor) if query.cursor else 0)
    except BadCursor:
        return math.inf


def waiting(query: Query, paths: bool) -> Waiting:
    """A checked query, with the context that this is called in."""
    return Waiting(query, paths, copy_context())


def answer_together(service: Service, like: Like, batch: Sequence[Waiting]) -> list[bytes | Exception]:
    """The JSON of each answer, or what was wrong with that query.

    Raises what concerns all of them, such as `CollectionNotFound`.
    """
    return service.runtime.retry_all_on_switch(partial(_answers, service, like, batch))


def _answers(service: Service, like: Like, batch: Sequence[Waiting]) -> list[bytes | Exception]:
    engine, pictures = service.engine_for(like.collection), service.runtime.pictures_of(like.collection)
    outcomes: list[Any] = [
        call.context.run(_attempt, _decoded, call.query, engine, service.limits, pictures) for call in batch
    ]
    asked = [(call.context, query) for call, query in zip(batch, outcomes, strict=True) if isinstance(query, Query)]
    results = iter(_results_of(engine, like.collection, asked, service.limits))
    outcomes = [next(results) if isinstance(outcome, Query) else outcome for outcome in outcomes]
    return [
        _attempt(results_json, outcome, call.paths, service.limits) if isinstance(outcome, Results) else outcome
        for call, outcome in zip(batch, outcomes, strict=True)
    ]


def answer_alone(service: Service, collection: str, query: Query, paths: bool) -> bytes:
    """The JSON of the answer to one query. Raises what is wrong with it."""

    def answer() -> Results:
        engine = service.engine_for(collection)
        return engine.query(
            collection, _decoded(query, engine, service.limits, service.runtime.pictures_of(collection))
        )

    return results_json(service.runtime.retry_on_switch(answer), paths, service.limits)


def answer_several(service: Service, query: QueryOfSeveral, paths: bool) -> bytes:
    """The same for a query of several collections."""
    pictures = service.runtime.pictures_of(query.collections[0])

    def read(engine: SearchEngine) -> Query:
        return _decoded(query, engine, service.limits, pictures)

    results = service.runtime.retry_on_switch(lambda: query_collections(query.collections, service.engine_for, read))
    return results_json(results, paths, service.limits)


def pool_for(service: Service, query: Query) -> Pool:
    """The threads of a query that is answered alone."""
    return service.costly if any(map(_needs_files, query.parts)) else service.pool


def _needs_files(part: Part) -> bool:
    """Whether files are read for a part, or another collection."""
    return any(given is not None for given in (part.data, part.collection, part.box, part.mask))


def _kind(part: Part) -> str:
    if part.item is not None:
        return "item"
    return "vector" if part.vector is not None else part.modality or "caption"


def _decoded(query: Query, engine: SearchEngine, limits: Limits, pictures: PictureOf) -> Query:
    with time_stage(Stage.DECODE):
        return decoded(query, limits, engine.embedder, pictures)


def _attempt(work: Callable[..., T], *given: Any) -> T | Exception:
    try:
        return work(*given)
    except Exception as error:  # noqa: BLE001  it is this query's alone, and its caller gets it
        return error


def _results_of(
    engine: SearchEngine, collection: str, asked: Sequence[tuple[Context, Query]], limits: Limits
) -> Sequence[Results | Exception]:
    """The outcome of each query. What only one of them can have caused, the others do not hear of."""
    if not asked:
        return []
    try:
        if len(asked) == 1:
            context, query = asked[0]
            return context.run(engine.query_batch, collection, [query], with_notes=True)
        # Nothing is decoded here, and a client that leaves gives up its own answer alone.
        with spending(Budget(0, 0.0, limits.filter_seconds)):
            return engine.query_batch(collection, [query for _, query in asked], with_notes=True)
    except _OF_ALL:
        raise
    except Exception as error:  # noqa: BLE001  its caller gets it
        if len(asked) == 1:
            return [error]
    return [_attempt(context.run, engine.query, collection, query) for context, query in asked]


def results_json(results: Results, with_paths: bool, limits: Limits) -> bytes:
    """The JSON of results; paths are only for those who may see them.

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
    """Raises `LimitExceeded` for a batch of too many queries, parts of words, or hits that it may have in all."""
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
    """Results of each query in JSON, in order; a wrong query has its error in its place and does not affect the others.

    Raises errors that concern all queries, such as `CollectionNotFound`.
    """
    engine, pictures = service.engine_for(collection), service.runtime.pictures_of(collection)
    with time_stage(Stage.DECODE):
        outcomes = [_read_brief(query, engine, service.limits, pictures) for query in members]
    queries = [query for query in outcomes if isinstance(query, Query)]
    _check_filters(queries, service.limits)
    results = iter(engine.query_batch(collection, queries))
    return [next(results) if isinstance(outcome, Query) else outcome for outcome in outcomes]


def _check_filters(queries: Sequence[Query], limits: Limits) -> None:
    """Raises `LimitExceeded` if the distinct filters of a batch, without those to be refused, have many conditions."""
    counts = map(count_conditions, {query.where for query in queries if query.where is not None})
    count = sum(count for count in counts if count <= MOST_CONDITIONS)
    if count > limits.conditions_per_batch:
        raise LimitExceeded(
            f"the distinct filters of a batch have at most {limits.conditions_per_batch:,} conditions; those of this "
            f"one have {count:,}"
        )


def brief(outcome: Results | Exception) -> Results | Refusal:
    """One answer of a batch, whose hits have neither caption nor attributes."""
    if isinstance(outcome, Exception):
        return Refusal(str(outcome))
    hits = [Hit(hit.key, hit.score, hit.rank, group=hit.group, probability=hit.probability) for hit in outcome.hits]
    return Results(tuple(hits), outcome.space, outcome.fusion, outcome.note)


def _read_brief(members: Any, engine: SearchEngine, limits: Limits, pictures: PictureOf) -> Query | Exception:
    """A query of a batch, or what is wrong with it. Raises what `raise_if_abandoned` raises."""
    raise_if_abandoned()
    try:
        query = read_query(members, limits, engine.embedder, pictures)
    except (AnyseekError, ModelError) as error:
        return error
    for given, sentence in (
        (query.vectors, "the hits of a batch are brief and have no vectors"),
        (query.facets or query.cursor, "the answers of a batch are brief, without facets and further pages"),
        (query.is_explained, "the hits of a batch are brief and not explained"),
    ):
        if given:
            return BadQuery(f"{sentence}; ask this query alone")
    return query
