"""Which of the items that were found become hits, a page or the best of each group, and what is said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from anyseek.search.answers.paging import Chosen, Seen, group_hash
from anyseek.search.answers.results import Facet, GroupValue
from anyseek.search.catalogue import facet_counts
from anyseek.search.filters.tree import Exists, Filter
from anyseek.search.query.query import Query
from anyseek.search.query.rankings import Ranking
from anyseek.search.types import FieldCounts

NOTHING_GOOD = "nothing good was found"  # the beginning of the note then
_VALUES = 20  # of each attribute
_NOTHING_SEEN = Seen()


@dataclass(frozen=True)
class Found:
    """The hits chosen for a query and a note on their scores, which take less memory than its rankings."""

    chosen: list[Chosen]
    note: str | None


def page(found: Ranking, query: Query, seen: Seen = _NOTHING_SEEN) -> list[Chosen]:
    """The hits of a query without groups. Where there is something `seen`, `query.offset` is how much."""
    best = _good(found, query)
    left = [item for item in best if item[0] not in seen.items] if seen else best[query.offset :]
    return [
        Chosen(item_id, score, rank, probability=probability)
        for rank, (item_id, score, probability) in enumerate(left[: query.k], query.offset + 1)
    ]


def groups(
    found: Ranking, values: Mapping[int, Sequence[GroupValue]], query: Query, seen: Seen = _NOTHING_SEEN
) -> tuple[list[Chosen], bool]:
    """The best items of the best groups, group by group, and whether further items would change nothing.

    Groups are ordered by their best item; an item with several `values` is in the group of each, one without in none.
    """
    size, best = query.group_size, _good(found, query)
    skipped, most = (0, query.k) if seen else (query.offset, query.reach)
    # By type, too, because 1 and true are equal in Python.
    by_value: dict[tuple[type, GroupValue], list[tuple[int, float, float | None]]] = {}
    for item in best:
        for value in values.get(item[0], ()):
            group = type(value), value
            if group not in by_value and len(by_value) < most and not (seen and group_hash(value) in seen.groups):
                by_value[group] = []
            if group in by_value and len(by_value[group]) < size:
                by_value[group].append(item)
    full = len(by_value) == most and all(len(members) == size for members in by_value.values())
    wanted = enumerate(list(by_value.items())[skipped:], query.offset + 1)
    chosen = [
        Chosen(item_id, score, rank, value, probability)
        for rank, ((_, value), members) in wanted
        for item_id, score, probability in members
    ]
    return chosen, full or len(best) < len(found.ids)


def _good(found: Ranking, query: Query) -> list[tuple[int, float, float | None]]:
    """The items up to the first that is not good enough, with scores and probabilities.

    What words alone find has no probability, and is never too unlikely.
    """
    ids, scores = found.ids.tolist(), found.scores.tolist()
    likely: list[float | None] = [None] * len(ids) if found.likely is None else found.likely.tolist()
    count = len(ids)
    if query.min_score is not None:
        count = next((place for place, score in enumerate(scores) if score < query.min_score), count)
    if query.min_probability is not None and found.likely is not None:
        below = (place for place, value in enumerate(found.likely) if value < query.min_probability)
        count = min(count, next(below, count))
    return list(zip(ids[:count], scores, likely, strict=False))


def counted_facets(
    session: Session, collection_id: int, query: Query, where: Filter | None
) -> tuple[tuple[Facet, ...], str | None]:
    """The facets of a query in its order, and a sentence about one that no item of the collection has."""
    found = facet_counts.count(session, collection_id, len(query.facets), _VALUES, where, query.facets)
    by_path = {counts.field: counts for counts in found}
    missing = (path for path in query.facets if path not in by_path)
    notes = (facet_counts.note_absent(session, collection_id, Exists(path)) for path in missing)
    in_order = tuple(_facet(by_path.get(path, FieldCounts(path, 0, 0))) for path in query.facets)
    return in_order, next(filter(None, notes), None)


def _facet(counted: FieldCounts) -> Facet:
    least, most = counted.numbers or (None, None)
    first, last = [_iso(moment) for moment in counted.moments or ()] or (None, None)
    return Facet(counted.field, counted.items, counted.distinct, counted.values, least, most, first, last)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def score_note(query: Query, found: Ranking) -> str | None:
    """A note that no item is good enough, with the best score or probability; None if one is."""
    if not len(found.ids):
        return None
    highest, best = float(found.scores[0]), found.best
    if query.min_score is not None and highest < query.min_score:
        return f"no item has a score of at least {query.min_score:g}; the highest is {highest:.3f}"
    if best is None:
        return None
    if query.min_probability is not None and best < query.min_probability:
        least = f"no item has a probability of at least {query.min_probability:g}"
        return f"{NOTHING_GOOD}: {least}; the highest is {best:.3f}"
    if best < found.nothing_below:
        return f"{NOTHING_GOOD}: the best item has a probability of {best:.3f}"
    return None


def damage_note(hits: int, lacking: int) -> str | None:
    """A note on hits and vectors that are left out because they are damaged; None if there are none."""
    reasons = []
    if hits:
        reasons.append(f"{hits} of the hits are left out because their rows in the database are damaged")
    if lacking:
        reasons.append(f"{lacking} items are not searched because their vectors are damaged or lost")
    return f"{' and '.join(reasons)}; anyseek verify names them" if reasons else None
