"""Converts queries from their wire form to the engine's, and the engine's results to theirs."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from anyseek.api.errors import describe
from anyseek.api.http.did_you_mean import explained
from anyseek.api.queries import wire
from anyseek.api.queries.batch_file import hits_of
from anyseek.api.queries.parts import check_count, filter_of, part_from_wire, parts_and_words
from anyseek.model.errors import ModelError
from anyseek.model.json_reader import check_unicode
from anyseek.model.modalities.reading.encoded import Understood
from anyseek.model.seam import Embedder, Fusion
from anyseek.search.assets import PictureOf
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError, BadQuery, LimitExceeded
from anyseek.search.settings import Limits
from anyseek.search.telemetry.metrics import Stage, timed
from anyseek.search.types import FieldCounts, GroupValue, Hit, Query, Results

ReadQuery = Callable[[Limits, Embedder, PictureOf], Query]
QUERY: TypeAdapter[wire.Query] = TypeAdapter(wire.Query)
_RESULTS: TypeAdapter[wire.Results] = TypeAdapter(wire.Results)


def read_query(given: Any, limits: Limits, embedder: Embedder, picture_of: PictureOf) -> Query:
    """Check and decode a query given as a wire type or as JSON members.

    Raises `BadQuery`, and what `query_from_wire` raises.
    """
    check_unicode(given, "the query")
    try:
        query = QUERY.validate_python(given)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise BadQuery(describe(explained(wrong, QUERY))) from error
    return query_from_wire(query, limits, embedder, picture_of)


def query_from_wire(query: wire.Query, limits: Limits, embedder: Embedder, picture_of: PictureOf) -> Query:
    """Read and decode a checked query; modalities that `embedder` does not take are refused undecoded.

    `picture_of` reads the pictures of items that have a box. Raises `BadQuery`, `BadFilter`, `LimitExceeded`,
    `InputError`, `DecodeError`, and what `picture_of` raises.
    """
    check_count(len(query.parts), limits)
    read = [part_from_wire(part, limits, number, embedder, picture_of) for number, part in enumerate(query.parts, 1)]
    parts, words = parts_and_words(read)
    return Query(
        parts,
        query.k,
        query.space,
        filter_of(query.where),
        query.fusion and Fusion(query.fusion),
        query.offset,
        query.min_score,
        query.vectors,
        query.group_by,
        query.group_size,
        words,
        facets=tuple(query.facets),
        cursor=query.cursor,
        spaces=tuple(query.spaces),
        explain=query.explain,
        explain_keys=tuple(query.explain_keys),
        min_probability=query.min_probability,
    )


def answer_to_json(results: Results, with_paths: bool, asked: Query, limits: Limits) -> bytes:
    """The JSON of the engine's results; paths are only for those who may see them. Raises as `check_answer` does."""
    check_answer(results, limits)
    return _RESULTS.dump_json(results_to_wire(results, with_paths, asked))


def results_to_wire(results: Results, with_paths: bool, asked: Query) -> wire.Results:
    """The wire form of the engine's results for a query; paths are only for those who may see them."""
    hits = [
        wire.Hit(
            hit.item.key,
            hit.score,
            hit.rank,
            hit.item.caption,
            hit.item.attributes,
            tuple(sorted(hit.item.assets)),
            hit.item.path if with_paths else None,
            _vector_out(hit),
            _group_out(hit),
            hit.collection,
            hit.probability,
        )
        for hit in results.hits
    ]
    facets = tuple(_facet_out(counted) for counted in results.facets)
    read = enumerate((part.understood for part in asked.parts), 1)
    understood = tuple(_understood_out(each, place) for place, each in read if each is not None)
    return wire.Results(
        tuple(hits),
        results.space,
        _fusion_name(results.fusion),
        results.note,
        facets,
        results.following,
        results.explanations,
        understood,
    )


def _understood_out(understood: Understood, place: int) -> wire.Understood:
    return wire.Understood(understood.name, understood.form, round(understood.sure, 3), understood.sentence, place)


def _facet_out(counted: FieldCounts) -> wire.Facet:
    least, most = counted.numbers or (None, None)
    first, last = [_iso(moment) for moment in counted.moments or ()] or (None, None)
    values = tuple(wire.FacetValue(each.value, each.items) for each in counted.values)
    return wire.Facet(counted.field, counted.items, counted.distinct, values, least, most, first, last)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _group_out(hit: Hit) -> GroupValue | None:
    """The value that a group has in common; whole numbers as such."""
    return int(hit.group) if isinstance(hit.group, float) and hit.group.is_integer() else hit.group


def check_batch(queries: Sequence[Any], limits: Limits) -> None:
    """Raises `LimitExceeded` for a batch of too many queries, or of queries that may have too many hits in all."""
    if len(queries) > limits.queries_per_batch:
        raise LimitExceeded(f"a batch has at most {limits.queries_per_batch:,} queries; this one has {len(queries):,}")
    hits = sum(min(hits_of(query), limits.hits) for query in queries if isinstance(query, dict))
    if hits > limits.hits_per_batch:
        raise LimitExceeded(f"a batch asks for at most {limits.hits_per_batch:,} hits in all; this one for {hits:,}")


def check_answer(results: Results, limits: Limits) -> None:
    """Raises `LimitExceeded` if the captions and attributes of the hits are too long for one answer."""
    size = sum(hit.item.told_size for hit in results.hits)
    if size > limits.bytes_per_answer:
        raise LimitExceeded(
            f"the captions and attributes of {len(results.hits):,} hits have {size:,} bytes; an answer has at most "
            f"{limits.bytes_per_answer:,}: ask for fewer, or for a batch, whose hits have neither"
        )


def answer_batch(
    engine: SearchEngine, limits: Limits, collection: str, queries: Sequence[Any], picture_of: PictureOf
) -> list[Results | Exception]:
    """Results of each query, in order; a wrong query has its error in its place and does not affect the others.

    Raises errors that concern all queries, such as `CollectionNotFound`.
    """
    with timed(Stage.DECODE):
        outcomes = [_attempt(query, limits, engine.embedder, picture_of) for query in queries]
    answers = iter(engine.query_batch(collection, [query for query in outcomes if isinstance(query, Query)]))
    return [next(answers) if isinstance(outcome, Query) else outcome for outcome in outcomes]


def outcome_to_wire(outcome: Results | Exception) -> wire.Results | wire.Refusal:
    """The wire form of one answer of a batch, with brief hits."""
    if isinstance(outcome, Exception):
        return wire.Refusal(str(outcome))
    hits = [
        wire.Hit(hit.item.key, hit.score, hit.rank, group=_group_out(hit), probability=hit.probability)
        for hit in outcome.hits
    ]
    return wire.Results(tuple(hits), outcome.space, _fusion_name(outcome.fusion), outcome.note)


def _vector_out(hit: Hit) -> tuple[float, ...] | None:
    return None if hit.vector is None else tuple(hit.vector.tolist())


def _attempt(
    query: Any, limits: Limits, embedder: Embedder, picture_of: PictureOf
) -> Query | AnyseekError | ModelError:
    try:
        asked = read_query(query, limits, embedder, picture_of)
        if asked.vectors:
            raise BadQuery("the hits of a batch are brief and have no vectors; ask this query alone")
        if asked.facets or asked.cursor:
            raise BadQuery("the answers of a batch are brief, without facets and further pages; ask this query alone")
        if asked.is_explained:
            raise BadQuery("the hits of a batch are brief and not explained; ask this query alone")
        return asked
    except (AnyseekError, ModelError) as error:
        return error


def _fusion_name(fusion: Fusion | None) -> wire.Fusion | None:
    return None if fusion is None else fusion.value
