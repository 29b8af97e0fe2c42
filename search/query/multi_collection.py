"""One query over several collections, which are searched one by one; their hits are merged.

Scores of one space are comparable, so hits are merged by score. If the collections were searched in different spaces,
hits are merged by rank, as in `anyseek.search.query.rankings`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from anyseek.search.answers.hits import NOTHING_GOOD
from anyseek.search.answers.results import GroupValue, Hit, Results
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery, LimitExceeded
from anyseek.search.query.query import MAX_COLLECTIONS, Query
from anyseek.search.query.rankings import rank_scores

EngineOf = Callable[[str], SearchEngine]


def query_collections(names: Sequence[str], engine_of: EngineOf, query_for: Callable[[SearchEngine], Query]) -> Results:
    """The `k` best hits of all collections, each with its collection's name; `query_for` reads the query for an engine.

    An item part without a collection is of the first of `names`. A group has the items of all collections with a value.
    Raises `BadQuery`, `LimitExceeded`, and what `SearchEngine.query` raises.
    """
    if not names:
        raise BadQuery("the query names no collections; give at least one")
    if len(names) > MAX_COLLECTIONS:
        raise LimitExceeded(f"the query names {len(names)} collections; the most is {MAX_COLLECTIONS}")
    if len(set(names)) < len(names):
        raise BadQuery("the query has a collection twice; name each once")
    query_by_engine: dict[int, Query] = {}
    answers = []
    for name in names:
        engine = engine_of(name)
        if id(engine) not in query_by_engine:
            query_by_engine[id(engine)] = _with_collections(query_for(engine), names[0])
        query = query_by_engine[id(engine)]
        # Which of the hits before the page come from other collections is not known yet.
        answers.append((name, engine.query(name, replace(query, k=query.reach, offset=0)), engine))
    scales = {_score_scale(engine, results) for _, results, engine in answers if results.hits}
    # Scores of fused rankings are relative to the first items of each collection.
    comparable = len(scales) <= 1 and all(fusion != "ranks" for fusion, *_ in scales)
    hits = [
        replace(hit, collection=name, score=hit.score if comparable else float(rank_scores(hit.rank)))
        for name, results, _ in answers
        for hit in results.hits
    ]
    hits.sort(key=lambda hit: -hit.score)  # of equals, the collection that was named first
    # The best hits of the best groups, each hit one of its own without; by type, too, because 1 and true are equal.
    groups: dict[tuple[type, GroupValue | int | None], list[Hit]] = {}
    for place, hit in enumerate(hits):
        group = place if query.group_by is None else hit.group
        groups.setdefault((type(group), group), []).append(hit)
    page = list(enumerate(groups.values(), 1))[query.offset : query.reach]
    spaces = [space for _, results, _ in answers if results.space for space in results.space.split("+")]
    first = answers[0][1]
    return Results(
        tuple(replace(hit, rank=rank) for rank, members in page for hit in members[: query.group_size]),
        "+".join(dict.fromkeys(spaces)) or None,
        first.fusion if comparable else "ranks",
        _merge_notes([(name, results.note) for name, results, _ in answers]),
        understood=first.understood,
    )


def _with_collections(query: Query, first: str) -> Query:
    if query.cursor is not None:
        raise BadQuery("a cursor is of one collection; for pages of several use offset")
    if query.facets:
        raise BadQuery("facets are counted of one collection; ask each for its own")
    if query.is_explained:
        raise BadQuery("hits are explained of one collection; ask it alone")
    parts = [part if part.item is None else replace(part, collection=part.collection or first) for part in query.parts]
    return replace(query, parts=tuple(parts))


def _score_scale(engine: SearchEngine, results: Results) -> tuple[str | None, ...]:
    """The scale of an answer's scores: its fusion and the fingerprints of its spaces."""
    names = [] if results.space is None else results.space.split("+")
    return (results.fusion, *(engine.embedder.spaces[name].fingerprint for name in names))


def _merge_notes(notes: Sequence[tuple[str, str | None]]) -> str | None:
    """The notes of the collections joined; that nothing good was found only if all of them say so."""
    present = [(name, note) for name, note in notes if note]
    if not all(note.startswith(NOTHING_GOOD) for _, note in present) or len(present) < len(notes):
        present = [(name, note) for name, note in present if not note.startswith(NOTHING_GOOD)]
    return "; ".join(f"{name}: {note}" for name, note in present) or None
