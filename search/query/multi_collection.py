"""One query of several collections: each is asked on its own, and their hits are merged.

Scores of one space are one scale, so hits are merged by score. If the collections were searched in different spaces,
each hit counts by its rank instead, as in `anyseek.search.query.rankings`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from anyseek.search.answers.hits import NOTHING_GOOD
from anyseek.search.answers.results import GroupValue, Hit, Results
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery, LimitExceeded
from anyseek.search.query.query import MOST_COLLECTIONS, Query
from anyseek.search.query.rankings import by_rank

EngineOf = Callable[[str], SearchEngine]


def query_several(names: Sequence[str], engine_of: EngineOf, query_for: Callable[[SearchEngine], Query]) -> Results:
    """The `k` best hits of all collections, each with the name of its own; `query_for` reads the query for an engine.

    A part that is an item is of the collection that it names, else of the first of `names`. The groups of a query are
    those of equal values in all collections. Raises `BadQuery`, `LimitExceeded`, and what `SearchEngine.query` raises.
    """
    check_collections(names)
    asked: dict[int, Query] = {}
    answers = []
    for name in names:
        engine = engine_of(name)
        if id(engine) not in asked:
            asked[id(engine)] = _checked(query_for(engine), names[0])
        query = asked[id(engine)]
        # It is not known which of the hits before the page are other collections'.
        all_before = replace(query, k=query.reach, offset=0)
        answers.append((name, engine, engine.query(name, all_before)))
    scales = {_scale(engine, results) for _, engine, results in answers if results.hits}
    # What added rankings give is relative to the first items of each collection.
    comparable = len(scales) <= 1 and all(fusion != "ranks" for fusion, *_ in scales)
    found = [hit for name, _, results in answers for hit in _named(results, name, comparable)]
    found.sort(key=lambda hit: -hit.score)  # of equals, the collection that was named first
    hits = _page(found, query) if query.group_by is None else _groups(found, query)
    every = [results for _, _, results in answers]
    fusion = every[0].fusion if comparable else "ranks"
    return Results(tuple(hits), _spaces(every), fusion, _notes(answers), understood=every[0].understood)


def check_collections(names: Sequence[str]) -> None:
    """Raises `BadQuery` and `LimitExceeded` for collections that cannot be asked together."""
    if not names:
        raise BadQuery("the query names no collections; give at least one")
    if len(names) > MOST_COLLECTIONS:
        raise LimitExceeded(f"the query names {len(names)} collections; the most is {MOST_COLLECTIONS}")
    if len(set(names)) < len(names):
        raise BadQuery("the query has a collection twice; name each once")


def _checked(query: Query, first: str) -> Query:
    if query.cursor is not None:
        raise BadQuery("a cursor is of one collection; for pages of several use offset")
    if query.facets:
        raise BadQuery("facets are counted of one collection; ask each for its own")
    if query.is_explained:
        raise BadQuery("hits are explained of one collection; ask it alone")
    parts = [part if part.item is None else replace(part, collection=part.collection or first) for part in query.parts]
    return replace(query, parts=tuple(parts))


def _scale(engine: SearchEngine, results: Results) -> tuple[str | None, ...]:
    """What the scores of an answer are of: the fingerprints of its spaces, and how its parts were fused."""
    names = [] if results.space is None else results.space.split("+")
    return (results.fusion, *(engine.embedder.spaces[name].fingerprint for name in names))


def _named(results: Results, name: str, comparable: bool) -> list[Hit]:
    given = [replace(hit, collection=name) for hit in results.hits]
    return given if comparable else [replace(hit, score=float(by_rank(hit.rank))) for hit in given]


def _page(found: Sequence[Hit], query: Query) -> list[Hit]:
    return [replace(hit, rank=rank) for rank, hit in enumerate(found, 1)][query.offset : query.reach]


def _groups(found: Sequence[Hit], query: Query) -> list[Hit]:
    """The best hits of the best groups; by type, too, because 1 and true are equal in Python."""
    groups: dict[tuple[type, GroupValue | None], list[Hit]] = {}
    for hit in found:
        groups.setdefault((type(hit.group), hit.group), []).append(hit)
    wanted = list(enumerate(groups.values(), 1))[query.offset : query.reach]
    return [replace(hit, rank=rank) for rank, members in wanted for hit in members[: query.group_size]]


def _spaces(every: Sequence[Results]) -> str | None:
    names = [name for results in every if results.space for name in results.space.split("+")]
    return "+".join(dict.fromkeys(names)) or None


def _notes(answers: Sequence[tuple[str, SearchEngine, Results]]) -> str | None:
    """What is said of the collections; that nothing good was found only if that is so in all of them."""
    said = [(name, results.note) for name, _, results in answers if results.note]
    if not all(note.startswith(NOTHING_GOOD) for _, note in said) or len(said) < len(answers):
        said = [(name, note) for name, note in said if not note.startswith(NOTHING_GOOD)]
    return "; ".join(f"{name}: {note}" for name, note in said) or None
