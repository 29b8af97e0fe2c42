"""Converts queries from their wire form to the engine's, and the engine's results to theirs."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from api.contents import Upload, classes_from_json, sent_value, uploaded_value, weight_of_field
from api.errors import describe
from api.forms import divided, number, numbers_of, text_of, truth, whole_number
from api.queries import wire
from api.queries.batch_file import hits_of
from api.unknown import explained
from model.errors import ModelError
from model.json_reader import check_unicode
from model.modalities.reading.decode import known_modality
from model.modalities.reading.documents import parse_text
from model.seam import Embedder, Fusion
from search.engine import SearchEngine
from search.errors import AnyseekError, BadQuery, LimitExceeded
from search.filters.from_json import filter_from_json
from search.filters.from_text import filter_from_text
from search.filters.tree import Filter
from search.metrics import Stage, timed
from search.queries import check_taken
from search.settings import Limits
from search.types import GroupValue, Hit, Part, Query, Results, Words

QUERY: TypeAdapter[wire.Query] = TypeAdapter(wire.Query)

_SETTINGS = ("k", "space", "fusion", "where", "classes", "offset", "min_score", "vectors", "group_by", "group_size")


def read_query(given: Any, limits: Limits, embedder: Embedder) -> Query:
    """Check and decode a query given as a wire type or as JSON members.

    Raises `BadQuery`, and what `query_from_wire` raises.
    """
    check_unicode(given, "the query")
    try:
        query = QUERY.validate_python(given)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise BadQuery(describe(explained(wrong, QUERY))) from error
    return query_from_wire(query, limits, embedder)


def query_from_wire(query: wire.Query, limits: Limits, embedder: Embedder) -> Query:
    """Read and decode a checked query; modalities that `embedder` does not take are refused undecoded.

    Raises `BadQuery`, `BadFilter`, `LimitExceeded`, `InputError`, `DecodeError`.
    """
    _check_count(len(query.parts), limits)
    read = [_part_from_wire(part, limits, number, embedder) for number, part in enumerate(query.parts, 1)]
    parts, words = _divided(read)
    return Query(
        parts,
        query.k,
        query.space,
        _filter(query.where),
        query.fusion and Fusion(query.fusion),
        query.offset,
        query.min_score,
        query.vectors,
        query.group_by,
        query.group_size,
        words,
    )


def query_from_form(uploads: Sequence[Upload], limits: Limits, embedder: Embedder) -> Query:
    """A query from a form with fields for parts (modalities, `item`, `vector`, `words`; `:0.7` is a weight) and
    `_SETTINGS`.

    Raises `BadInput`, `BadQuery`, `BadFilter`, `LimitExceeded`, `UnknownModality`, `DecodeError`.
    """
    settings, contents = divided(uploads, _SETTINGS, others=("item", "vector", wire.WORDS))
    _check_count(len(contents), limits)
    classes = classes_from_json(settings["classes"], limits) if "classes" in settings else None
    parts, words = _divided([_part_from_upload(upload, limits, classes, embedder) for upload in contents])
    if not parts and not words:
        raise BadQuery(
            "the form has no part; it needs a field named by a modality, such as caption or rgb, or named item"
        )
    where, fusion = _filter(settings.get("where")), _fusion(settings.get("fusion"))
    return Query(
        parts,
        whole_number("k", settings.get("k", str(wire.DEFAULT_HITS)), 1, limits.hits),
        settings.get("space"),
        where,
        fusion,
        whole_number("offset", settings.get("offset", "0"), 0, limits.hits - 1),
        number("min_score", settings["min_score"]) if "min_score" in settings else None,
        truth("vectors", settings.get("vectors", "false")),
        settings.get("group_by"),
        whole_number("group_size", settings.get("group_size", "1"), 1, limits.hits),
        words,
    )


def results_to_wire(results: Results, with_paths: bool) -> wire.Results:
    """The wire form of the engine's results; paths are only for those who may see them."""
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
        )
        for hit in results.hits
    ]
    return wire.Results(tuple(hits), results.space, _fusion_name(results.fusion), results.note)


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
    size = sum(len(hit.item.caption or "") + len(json.dumps(dict(hit.item.attributes))) for hit in results.hits)
    if size > limits.bytes_per_answer:
        raise LimitExceeded(
            f"the captions and attributes of {len(results.hits):,} hits have {size:,} bytes; an answer has at most "
            f"{limits.bytes_per_answer:,}: ask for fewer, or for a batch, whose hits have neither"
        )


def answer_batch(
    engine: SearchEngine, limits: Limits, collection: str, queries: Sequence[Any]
) -> list[Results | Exception]:
    """Results of each query, in order; a wrong query has its error in its place and does not affect the others.

    Raises errors that concern all queries, such as `CollectionNotFound`.
    """
    with timed(Stage.DECODE):
        outcomes = [_attempt(query, limits, engine.embedder) for query in queries]
    answers = iter(engine.query_batch(collection, [query for query in outcomes if isinstance(query, Query)]))
    return [next(answers) if isinstance(outcome, Query) else outcome for outcome in outcomes]


def outcome_to_wire(outcome: Results | Exception) -> wire.Results | wire.Refusal:
    """The wire form of one answer of a batch, with brief hits."""
    if isinstance(outcome, Exception):
        return wire.Refusal(str(outcome))
    hits = [wire.Hit(hit.item.key, hit.score, hit.rank, group=_group_out(hit)) for hit in outcome.hits]
    return wire.Results(tuple(hits), outcome.space, _fusion_name(outcome.fusion), outcome.note)


def _vector_out(hit: Hit) -> tuple[float, ...] | None:
    return None if hit.vector is None else tuple(hit.vector.tolist())


def _attempt(query: Any, limits: Limits, embedder: Embedder) -> Query | AnyseekError | ModelError:
    try:
        asked = read_query(query, limits, embedder)
        if asked.vectors:
            raise BadQuery("the hits of a batch are brief and have no vectors; ask this query alone")
        return asked
    except (AnyseekError, ModelError) as error:
        return error


def _fusion_name(fusion: Fusion | None) -> wire.Fusion | None:
    return None if fusion is None else fusion.value


def _filter(where: Any) -> Filter | None:
    """A filter as it was sent, written or as JSON."""
    if where is None:
        return None
    return filter_from_text(where) if isinstance(where, str) else filter_from_json(where)


def _fusion(text: str | None) -> Fusion | None:
    """A form's field. Raises `BadQuery`."""
    if text is None:
        return None
    try:
        return Fusion(text)
    except ValueError:
        raise BadQuery(f"fusion is {', '.join(Fusion)}, not {text[:20]!r}") from None


def _divided(read: Sequence[Part | Words]) -> tuple[tuple[Part, ...], tuple[Words, ...]]:
    parts = tuple(part for part in read if isinstance(part, Part))
    return parts, tuple(part for part in read if isinstance(part, Words))


def _words(text: str | None, weight: float, called: str, limits: Limits) -> Words:
    """Raises `BadQuery` for what is no text, and `BadText`."""
    if text is None:
        raise BadQuery(f"{called} is words, which are a text")
    return Words(parse_text(text, limits, called), weight)


def _part_from_wire(part: wire.Part, limits: Limits, number: int, embedder: Embedder) -> Part | Words:
    contents = {"text": part.text, "file": part.file, "data": part.data, "item": part.item, "vector": part.vector}
    found = [member for member, content in contents.items() if content is not None]
    if len(found) != 1:
        several = " and ".join(found) or "none"
        raise BadQuery(f"part {number} has {several} of text, data, item and vector; give exactly one")
    if part.item is not None:
        return Part(item=part.item, weight=part.weight)
    if part.vector is not None:
        return _vector_part(part.vector, part.modality, part.weight)
    if part.modality == wire.WORDS:
        return _words(part.text, part.weight, part.name or f"part {number}", limits)
    if part.modality is None and part.text is None:
        raise BadQuery(f"part {number} has data but no modality; name one, such as rgb")
    kind = known_modality(part.modality or "caption")
    check_taken(kind.name, embedder)
    value = sent_value(part, kind, f"part {number} ({part.modality or 'caption'})", limits)
    return Part(kind.name, value, weight=part.weight)


def _vector_part(given: Any, modality: str | None, weight: float) -> Part:
    """A part that is a vector of the model's. Raises `BadQuery`."""
    with np.errstate(over="ignore"):  # what is too large has no direction, which the engine says
        vector = np.asarray(given, np.float32)
    return Part(None if modality is None else known_modality(modality).name, vector=vector, weight=weight)


def _part_from_upload(
    upload: Upload, limits: Limits, classes: dict[int, str] | None, embedder: Embedder
) -> Part | Words:
    name, given = weight_of_field(upload.field)
    weight = 1.0 if given is None else given
    if name == "item":
        return Part(item=text_of(upload), weight=weight)
    if name == wire.WORDS:
        return _words(text_of(upload), weight, "the field words", limits)
    if name == "vector":
        return _vector_part(numbers_of(upload), None, weight)
    kind = known_modality(name)
    check_taken(kind.name, embedder)
    return Part(kind.name, uploaded_value(upload, kind, limits, classes), weight=weight)


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.parts:
        raise LimitExceeded(f"a query has at most {limits.parts} parts; this one has {count}")
