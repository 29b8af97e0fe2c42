"""Results beside the hits: their vectors, facet counts, and notes on quality and damage."""

from dataclasses import replace

from sqlalchemy.orm import Session

from anyseek.search.answers.hits import Found
from anyseek.search.catalogue import facet_counts
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.session import Database
from anyseek.search.filters.tree import Exists, Filter
from anyseek.search.query.rankings import Asked
from anyseek.search.query.vectors import raw_vectors
from anyseek.search.types import FieldCounts, Query, Results

NOTHING_GOOD = "nothing good was found"  # the beginning of the note then
_VALUES = 20  # of each attribute


def with_requested_extras(database: Database, head: Head, asked: Asked, results: Results) -> Results:
    """The results with the vectors of hits and the facets that the query requests, without damaged vectors."""
    if asked.vectors_of is not None and results.hits:
        with database.read() as session:
            vectors = raw_vectors(session, head, asked.vectors_of, [hit.item.id for hit in results.hits])
        results = replace(results, hits=tuple(replace(hit, vector=vectors.get(hit.item.id)) for hit in results.hits))
    if asked.query.facets:
        with database.read() as session:
            found, note = _counted(session, head.id, asked.query, asked.where)
        results = replace(results, facets=found, note=results.note or note)
    return results


def _counted(
    session: Session, collection_id: int, query: Query, where: Filter | None
) -> tuple[tuple[FieldCounts, ...], str | None]:
    """The facets of a query in its order, and a sentence about one that no item of the collection has."""
    found = facet_counts.count(session, collection_id, len(query.facets), _VALUES, where, query.facets)
    by_path = {counts.field: counts for counts in found}
    missing = (path for path in query.facets if path not in by_path)
    notes = (facet_counts.note_absent(session, collection_id, Exists(path)) for path in missing)
    in_order = tuple(by_path.get(path, FieldCounts(path, 0, 0)) for path in query.facets)
    return in_order, next(filter(None, notes), None)


def score_note(query: Query, found: Found) -> str | None:
    """A note that no item is good enough, with the best score or probability; None if one is."""
    if not found.scores:
        return None
    highest, best = found.scores[0][1], found.best
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
