"""Decodes the parts of queries to what the engine takes, and answers queries with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from anyseek.api.contents import Upload, reading_of, sent_mask, sent_reading
from anyseek.api.errors import describe
from anyseek.api.http.did_you_mean import adapter, explained
from anyseek.model.errors import ModelError
from anyseek.model.json_reader import check_unicode
from anyseek.model.modalities.reading.decode import known_modality
from anyseek.model.modalities.reading.documents import parse_text
from anyseek.model.modalities.registry import Content
from anyseek.model.seam import Embedder
from anyseek.search.answers.results import Hit, Refusal, Results
from anyseek.search.assets import PICTURE, PictureOf
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError, BadQuery, LimitExceeded
from anyseek.search.filters.from_text import filter_from_json, filter_from_text
from anyseek.search.filters.tree import Filter
from anyseek.search.query.planning import check_taken
from anyseek.search.query.query import WORDS, Part, Query, hits_of
from anyseek.search.settings import Limits
from anyseek.search.telemetry.spans import Stage, timed

Q = TypeVar("Q", bound=Query)
QUERY: TypeAdapter[Query] = adapter(Query)
_RESULTS: TypeAdapter[Results] = adapter(Results)


def attached(query: Q, files: Mapping[str, Upload]) -> Q:
    """The query with the files that its parts name. Raises `BadQuery` for one that was not sent."""
    if all(part.file is None for part in query.parts):
        return query
    return replace(query, parts=[_attached(part, number, files) for number, part in enumerate(query.parts, 1)])


def _attached(part: Part, number: int, files: Mapping[str, Upload]) -> Part:
    if part.file is None:
        return part
    _check_content(part, number)
    upload = files.get(str(part.file))
    if upload is None:
        raise BadQuery(f"part {number} names the file {str(part.file)[:40]!r}, which is no field of a form with it")
    data = upload.content.encode() if isinstance(upload.content, str) else upload.content
    return replace(part, file=None, data=data, name=part.name or upload.filename)


def read_query(members: Any, limits: Limits, embedder: Embedder, picture_of: PictureOf) -> Query:
    """Check and decode a query given as JSON members. Raises `BadQuery`, and what `decoded` raises."""
    check_unicode(members, "the query")
    try:
        query = QUERY.validate_python(members)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise BadQuery(describe(explained(wrong, QUERY))) from error
    return decoded(attached(query, {}), limits, embedder, picture_of)


def decoded(query: Query, limits: Limits, embedder: Embedder, picture_of: PictureOf) -> Query:
    """The query with the values of its parts, and its filter; modalities that `embedder` does not take are refused
    undecoded.

    `picture_of` reads the pictures of items that have a box. Raises `BadQuery`, `BadFilter`, `LimitExceeded`,
    `InputError`, `DecodeError`, and what `picture_of` raises.
    """
    if len(query.parts) > limits.parts:
        raise LimitExceeded(f"a query has at most {limits.parts} parts; this one has {len(query.parts)}")
    parts = [_decoded(part, limits, number, embedder, picture_of) for number, part in enumerate(query.parts, 1)]
    return replace(query, parts=tuple(parts), where=filter_of(query.where))


def filter_of(where: Any) -> Filter | None:
    """A filter as it was sent, written or as JSON. Raises `BadFilter`."""
    if where is None:
        return None
    return filter_from_text(where) if isinstance(where, str) else filter_from_json(where)


def _decoded(part: Part, limits: Limits, number: int, embedder: Embedder, picture_of: PictureOf) -> Part:
    _check_content(part, number)
    _check_members(part, number)
    called = part.name or f"part {number}"
    region = part.box if part.mask is None else sent_mask(part.mask, called)
    if part.item is not None and region is None:
        return Part(item=part.item, weight=part.weight, collection=part.collection)
    if part.item is not None:
        check_taken(PICTURE, embedder)
        data = picture_of(part.item, part.collection)
        read = reading_of(PICTURE, data, limits, f"the picture of {part.item!r}", None, None, region)
        return Part(PICTURE, read.value, weight=part.weight, understood=read.understood)
    if part.vector is not None:
        modality = None if part.modality is None else known_modality(part.modality).name
        with np.errstate(over="ignore"):  # what is too large has no direction, which the engine says
            return Part(modality, vector=np.asarray(part.vector, np.float32), weight=part.weight)
    if part.modality == WORDS:
        if part.text is None:
            raise BadQuery(f"{called} is words, which are a text")
        return Part(WORDS, parse_text(part.text, limits, called), weight=part.weight)
    if part.modality is None and part.text is None:
        raise BadQuery(f"part {number} has data but no modality; name one, such as rgb")
    kind = known_modality(part.modality or "caption")
    check_taken(kind.name, embedder)
    read = sent_reading(part, kind, f"part {number} ({part.modality or 'caption'})", limits, part.form, region)
    return Part(kind.name, read.value, weight=part.weight, understood=read.understood)


def _check_content(part: Part, number: int) -> None:
    """Raises `BadQuery` unless a part has exactly one content."""
    contents = {"text": part.text, "file": part.file, "data": part.data, "item": part.item, "vector": part.vector}
    found = [member for member, content in contents.items() if content is not None]
    if len(found) != 1:
        several = " and ".join(found) or "none"
        raise BadQuery(f"part {number} has {several} of text, file, data, item and vector; give exactly one")


def _check_members(part: Part, number: int) -> None:
    """Raises `BadQuery` for a member that would have no effect."""
    is_file = part.data is not None
    if part.box is not None and part.mask is not None:
        raise BadQuery(f"part {number} has a box and a mask; give one or the other")
    for name, region in (("box", part.box), ("mask", part.mask)):
        if region is not None and not is_file and part.item is None:
            raise BadQuery(f"part {number} has a {name}, but neither data nor an item; a {name} is of a picture")
    if part.form is not None and (not is_file or part.modality == WORDS):
        raise BadQuery(f"part {number} has a form, but no data; a form says what the numbers of a file mean")
    is_map = is_file and part.modality not in (None, WORDS) and _is_segmentation(part.modality or "")
    if part.classes is not None and not is_map:
        raise BadQuery(f"part {number} has classes, but is no file of a segmentation (semseg), whose classes they name")
    if part.collection is not None and part.item is None:
        raise BadQuery(f"part {number} names a collection, but no item; give the key of one of its items, too")


def _is_segmentation(modality: str) -> bool:
    return known_modality(modality).content is Content.REGIONS


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
    """Raises `LimitExceeded` for a batch of too many queries, or of queries that may have too many hits in all."""
    if len(queries) > limits.queries_per_batch:
        raise LimitExceeded(f"a batch has at most {limits.queries_per_batch:,} queries; this one has {len(queries):,}")
    hits = sum(min(hits_of(query), limits.hits) for query in queries if isinstance(query, dict))
    if hits > limits.hits_per_batch:
        raise LimitExceeded(f"a batch asks for at most {limits.hits_per_batch:,} hits in all; this one for {hits:,}")


def answer_batch(
    engine: SearchEngine, limits: Limits, collection: str, queries: Sequence[Any], picture_of: PictureOf
) -> list[Results | Exception]:
    """Results of each query in JSON, in order; a wrong query has its error in its place and does not affect the others.

    Raises errors that concern all queries, such as `CollectionNotFound`.
    """
    with timed(Stage.DECODE):
        outcomes = [_attempt(query, limits, engine.embedder, picture_of) for query in queries]
    answers = iter(engine.query_batch(collection, [query for query in outcomes if isinstance(query, Query)]))
    return [next(answers) if isinstance(outcome, Query) else outcome for outcome in outcomes]


def brief(outcome: Results | Exception) -> Results | Refusal:
    """One answer of a batch, whose hits have neither caption nor attributes."""
    if isinstance(outcome, Exception):
        return Refusal(str(outcome))
    hits = [Hit(hit.key, hit.score, hit.rank, group=hit.group, probability=hit.probability) for hit in outcome.hits]
    return Results(tuple(hits), outcome.space, outcome.fusion, outcome.note)


def _attempt(members: Any, limits: Limits, embedder: Embedder, picture_of: PictureOf) -> Query | Exception:
    try:
        query = read_query(members, limits, embedder, picture_of)
        if query.vectors:
            raise BadQuery("the hits of a batch are brief and have no vectors; ask this query alone")
        if query.facets or query.cursor:
            raise BadQuery("the answers of a batch are brief, without facets and further pages; ask this query alone")
        if query.is_explained:
            raise BadQuery("the hits of a batch are brief and not explained; ask this query alone")
        return query
    except (AnyseekError, ModelError) as error:
        return error
