"""What queries ask for beside their hits: the hits' vectors, and counts of attributes of all that pass the filter."""

from dataclasses import replace

from sqlalchemy.orm import Session

from anyseek.search.catalogue import facet_counts, fields
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.session import Database
from anyseek.search.filters.tree import Exists, Filter
from anyseek.search.query_vectors import raw_vectors
from anyseek.search.rankings import Asked
from anyseek.search.types import FieldCounts, Query, Results

_VALUES = 20  # of each attribute


def with_what_is_asked(database: Database, head: Head, asked: Asked, results: Results) -> Results:
    """The results with hits' vectors and facets, if the query asks for them; a damaged vector is left out."""
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
    notes = (fields.note(session, collection_id, Exists(path)) for path in missing)
    in_order = tuple(by_path.get(path, FieldCounts(path, 0, 0)) for path in query.facets)
    return in_order, next(filter(None, notes), None)
