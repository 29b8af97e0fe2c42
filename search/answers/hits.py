"""Selects the hits of a ranking, by page or by group, and makes the notes on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from anyseek.model.image_attributes import ReadingEmbedder
from anyseek.model.seam import Embedder, FloatArray
from anyseek.search.answers.paging import HitCandidate, SeenHits, group_hash
from anyseek.search.answers.results import Facet, GroupValue, Hit
from anyseek.search.catalogue import facet_counts
from anyseek.search.filters.tree import Exists, Filter
from anyseek.search.query.query import Query
from anyseek.search.query.rankings import Ranking
from anyseek.search.types import FieldCounts, Item

CAPTION = "caption"
NOTHING_GOOD = "nothing good was found"  # the beginning of the note then
_MAX_VALUES = 20  # of each attribute
_NO_SEEN_HITS = SeenHits()
_NO_PROBABILITY = (
    "min_probability leaves nothing out here: hits have a probability where the query is the name of a thing in at "
    "most three words, and the model can tell"
)


@dataclass(frozen=True)
class SelectedHits:
    """The hits of a query and a note on their scores, which take less memory than its rankings."""

    chosen: list[HitCandidate]
    note: str | None


def select_page(ranking: Ranking, query: Query, seen: SeenHits = _NO_SEEN_HITS) -> list[HitCandidate]:
    """The page of hits of a query without groups. If any are `seen`, `query.offset` is their number."""
    best = _above_thresholds(ranking, query)
    left = [item for item in best if item[0] not in seen.items] if seen else best[query.offset :]
    return [
        HitCandidate(item_id, score, rank, probability=probability)
        for rank, (item_id, score, probability) in enumerate(left[: query.k], query.offset + 1)
    ]


def select_groups(
    ranking: Ranking, values: Mapping[int, Sequence[GroupValue]], query: Query, seen: SeenHits = _NO_SEEN_HITS
) -> tuple[list[HitCandidate], bool]:
    """The best items of the best groups, group by group, and whether a deeper ranking would change nothing.

    Groups are ordered by their best item. An item with several `values` is in several groups, one without is in none.
    """
    size, best = query.group_size, _above_thresholds(ranking, query)
    skip, limit = (0, query.k) if seen else (query.offset, query.reach)
    # By type, too, because 1 and true are equal in Python.
    by_value: dict[tuple[type, GroupValue], list[tuple[int, float, float | None]]] = {}
    for item in best:
        for value in values.get(item[0], ()):
            group = type(value), value
            if group not in by_value and len(by_value) < limit and not (seen and group_hash(value) in seen.groups):
                by_value[group] = []
            if group in by_value and len(by_value[group]) < size:
                by_value[group].append(item)
    is_full = len(by_value) == limit and all(len(members) == size for members in by_value.values())
    ranked_groups = enumerate(list(by_value.items())[skip:], query.offset + 1)
    chosen = [
        HitCandidate(item_id, score, rank, value, probability)
        for rank, ((_, value), members) in ranked_groups
        for item_id, score, probability in members
    ]
    return chosen, is_full or len(best) < len(ranking.ids)


def _above_thresholds(ranking: Ranking, query: Query) -> list[tuple[int, float, float | None]]:
    """The items before the first below a threshold of the query, with scores and probabilities.

    Without probabilities, no threshold of them applies.
    """
    ids, scores = ranking.ids.tolist(), ranking.scores.tolist()
    likely = ranking.probabilities
    probabilities: list[float | None] = [None] * len(ids) if likely is None else likely.tolist()
    count = len(ids)
    if query.min_score is not None:
        count = next((place for place, score in enumerate(scores) if score < query.min_score), count)
    if query.min_probability is not None and likely is not None:
        below = (place for place, value in enumerate(likely) if value < query.min_probability)
        count = min(count, next(below, count))
    return list(zip(ids[:count], scores, probabilities, strict=False))


def make_hit(chosen: HitCandidate, item: Item, vector: FloatArray | None) -> Hit:
    """The hit of an item, with its raw vector (d,) if the query asks for it."""
    group = chosen.group
    return Hit(
        item.key,
        chosen.score,
        chosen.rank,
        item.caption,
        item.attributes,
        tuple(sorted(item.assets)),
        item.path,
        None if vector is None else tuple(vector.tolist()),
        int(group) if isinstance(group, float) and group.is_integer() else group,
        probability=chosen.probability,
    )


def count_facets(
    session: Session, collection_id: int, query: Query, where: Filter | None
) -> tuple[tuple[Facet, ...], str | None]:
    """The facets of a query in its order, and a note on the first that no item of the collection has."""
    counted = facet_counts.count(session, collection_id, len(query.facets), _MAX_VALUES, where, query.facets)
    by_path = {counts.field: counts for counts in counted}
    missing = (path for path in query.facets if path not in by_path)
    notes = (facet_counts.explain_absence(session, collection_id, Exists(path)) for path in missing)
    in_order = tuple(_facet(by_path.get(path, FieldCounts(path, 0, 0))) for path in query.facets)
    return in_order, next(filter(None, notes), None)


def _facet(counts: FieldCounts) -> Facet:
    least, most = counts.numbers or (None, None)
    first, last = [_iso(moment) for moment in counts.moments or ()] or (None, None)
    return Facet(counts.field, counts.items, counts.distinct, counts.values, least, most, first, last)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def score_note(query: Query, ranking: Ranking) -> str | None:
    """A note that no item reaches the thresholds, with the best score or probability; None if one does."""
    if not len(ranking.ids):
        return None
    highest, best = float(ranking.scores[0]), ranking.best_probability
    if query.min_score is not None and highest < query.min_score:
        return f"no item has a score of at least {query.min_score:g}; the highest is {highest:.3f}"
    if best is None:
        return None if query.min_probability is None else _NO_PROBABILITY
    if query.min_probability is not None and best < query.min_probability:
        least = f"no item has a probability of at least {query.min_probability:g}"
        return f"{NOTHING_GOOD}: {least}; the highest is {best:.3f}"
    if best < ranking.nothing_good_threshold:
        return f"{NOTHING_GOOD}: the best item has a probability of {best:.3f}"
    return None


def language_note(embedder: Embedder, query: Query) -> str | None:
    """A note on the first text of a query that the embedder cannot read; None if it reads all of them."""
    if not isinstance(embedder, ReadingEmbedder):
        return None
    texts = [part.value for part in query.parts if part.modality == CAPTION and isinstance(part.value, str)]
    return next(filter(None, map(embedder.text_note, texts)), None)


def damage_note(hits: int, missing_count: int) -> str | None:
    """A note on hits and vectors that are left out because of damage; None if there are none."""
    reasons = []
    if hits:
        reasons.append(f"{hits} of the hits are left out because their rows in the database are damaged")
    if missing_count:
        reasons.append(f"{missing_count} items are not searched because their vectors are damaged or lost")
    return f"{' and '.join(reasons)}; anyseek verify names them" if reasons else None
