"""Queries that come at once are answered in one pass of the model and of the index.

Only those are that cost about the same: without files and items of other collections, with few hits (those on the
pages before count, too), and without what is counted or read beside them. So a query never waits for a far larger one
in its batch.
"""

import math
from collections.abc import Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, fields
from functools import partial

from sqlalchemy import exc

from anyseek.api.queries import wire
from anyseek.api.queries.conversion import ReadQuery, answer_to_json, query_from_wire
from anyseek.api.queries.micro_batching import Gathering
from anyseek.api.service import Service
from anyseek.model.modalities.reading.budget import Budget, spending
from anyseek.model.seam import Embedder
from anyseek.search.answers.paging import BadCursor, count_seen
from anyseek.search.assets import PictureOf
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError, CollectionNotFound, IndexUnavailable
from anyseek.search.settings import Limits
from anyseek.search.telemetry.metrics import Stage, timed
from anyseek.search.types import Query, Results

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
class Like:
    """What queries of one batch have in common: the model then gets samples of a kind, and filters delay no others."""

    collection: str
    kinds: frozenset[str]
    filtered: bool


@dataclass(frozen=True)
class Asked:
    """A query that is yet to be read, in the context of its request; `paths`: its caller may see where files lie."""

    read: ReadQuery
    paths: bool
    context: Context


QueryGathering = Gathering[Like, Asked, bytes]


def gathering_of(service: Service) -> QueryGathering:
    """Where the queries to a service meet."""
    most = min(_MOST_ON_CARD if service.may_use_card else _MOST_TOGETHER, service.limits.queries_per_batch)
    turns = _TURNS_ON_CARD if service.may_use_card else None
    return Gathering(service.pool, partial(answer_together, service), most, turns)


def like(collection: str, query: wire.Query) -> Like | None:
    """Which other queries one is answered with; None for one that is answered alone."""
    if _reach(query) > _MOST_HITS or any(map(_needs_files, query.parts)):
        return None
    more = [each for each in fields(query) if each.name not in _LIGHT]
    if any(getattr(query, each.name) not in (each.default, []) for each in more):
        return None
    return Like(collection, frozenset(_kind(part) for part in query.parts), query.where is not None)


def _reach(query: wire.Query) -> float:
    """How many of the best hits have to be found; infinitely many for a damaged cursor, which is refused alone."""
    try:
        return query.k + query.offset + (count_seen(query.cursor) if query.cursor else 0)
    except BadCursor:
        return math.inf


def asked_by_wire(query: wire.Query, paths: bool) -> Asked:
    """A checked query, with the context that this is called in."""
    return Asked(partial(query_from_wire, query), paths, copy_context())


def answer_together(service: Service, like: Like, batch: Sequence[Asked]) -> list[bytes | Exception]:
    """The JSON of each answer, or what was wrong with that query.

    Raises what concerns all of them, such as `CollectionNotFound`.
    """
    return service.runtime.all_through_switches(partial(_answers, service, like, batch))


def _answers(service: Service, like: Like, batch: Sequence[Asked]) -> list[bytes | Exception]:
    engine, pictures = service.engine_for(like.collection), service.pictures_of(like.collection)
    read = [one.context.run(_attempt, one.read, service.limits, engine.embedder, pictures) for one in batch]
    wanted = [query for query in read if isinstance(query, Query)]
    if len(batch) == 1:
        found = iter(batch[0].context.run(_found, engine, like.collection, wanted))
    else:
        # Nothing is decoded here, and a client that leaves gives up its own answer alone.
        with spending(Budget(0, 0.0)):
            found = iter(_found(engine, like.collection, wanted))
    return [
        _written(next(found), query, one.paths, service.limits) if isinstance(query, Query) else query
        for one, query in zip(batch, read, strict=True)
    ]


def answer_alone(service: Service, collection: str, read: ReadQuery, paths: bool) -> bytes:
    """The JSON of the answer to one query. Raises what is wrong with it."""

    def answer() -> bytes:
        engine = service.engine_for(collection)
        with timed(Stage.DECODE):
            asked = read(service.limits, engine.embedder, service.pictures_of(collection))
        return answer_to_json(engine.query(collection, asked), paths, asked, service.limits)

    return service.runtime.through_switches(answer)


def _needs_files(part: wire.Part) -> bool:
    """Whether files are read for a part, or another collection."""
    return any(given is not None for given in (part.data, part.collection, part.box, part.mask))


def _kind(part: wire.Part) -> str:
    if part.item is not None:
        return "item"
    return "vector" if part.vector is not None else part.modality or "caption"


def _attempt(read: ReadQuery, limits: Limits, embedder: Embedder, pictures: PictureOf) -> Query | Exception:
    try:
        with timed(Stage.DECODE):
            return read(limits, embedder, pictures)
    except Exception as error:  # noqa: BLE001  it is this query's alone, and its caller gets it
        return error


def _found(engine: SearchEngine, collection: str, queries: Sequence[Query]) -> Sequence[Results | Exception]:
    """The outcome of each query. What only one of them can have caused, the others do not hear of."""
    if not queries:
        return []
    try:
        return engine.query_together(collection, queries)
    except _OF_ALL:
        raise
    except Exception as error:  # noqa: BLE001  its caller gets it
        if len(queries) == 1:
            return [error]
    return [_found_alone(engine, collection, query) for query in queries]


def _found_alone(engine: SearchEngine, collection: str, query: Query) -> Results | Exception:
    try:
        return engine.query(collection, query)
    except Exception as error:  # noqa: BLE001  its caller gets it
        return error


def _written(outcome: Results | Exception, asked: Query, paths: bool, limits: Limits) -> bytes | Exception:
    if isinstance(outcome, Exception):
        return outcome
    try:
        return answer_to_json(outcome, paths, asked, limits)
    except AnyseekError as error:
        return error
