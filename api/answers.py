"""Queries as JSON to answers as JSON: what the service does behind HTTP, and a command without a service in-process."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from api.errors import describe
from api.parts import query_from_json
from api.schemas import BatchAnswer, BatchEntry, QueryBody
from model.embedder import Embedder, ModelError
from search.engine import SearchEngine
from search.errors import AnyseekError, BadQuery
from search.settings import Limits
from search.types import Query


def read_query(members: Any, limits: Limits, embedder: Embedder) -> Query:
    """A query from JSON members. Raises `BadQuery`, `LimitExceeded`, `DecodeError`."""
    try:
        body = QueryBody.model_validate(members)
    except ValidationError as error:
        raise BadQuery(describe(error.errors(include_url=False, include_input=False))) from error
    return query_from_json(body, limits, embedder)


def answer_batch(engine: SearchEngine, limits: Limits, collection: str, queries: Sequence[Any]) -> BatchAnswer:
    """An entry for each query, in order; one that is wrong gets an error and spoils no other.

    Raises what concerns all of them, such as `CollectionNotFound`.
    """
    outcomes: list[Any] = [_attempt(members, limits, engine.embedder) for members in queries]
    wanted = [outcome for outcome in outcomes if isinstance(outcome, Query)]
    answers = iter(engine.query_batch(collection, wanted))
    entries = [next(answers) if isinstance(outcome, Query) else outcome for outcome in outcomes]
    return BatchAnswer(results=[BatchEntry.of(entry) for entry in entries])


def _attempt(members: Any, limits: Limits, embedder: Embedder) -> Query | AnyseekError | ModelError:
    try:
        return read_query(members, limits, embedder)
    except (AnyseekError, ModelError) as error:
        return error
