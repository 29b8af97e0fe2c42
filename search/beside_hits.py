"""What queries ask for beside their hits: the hits' vectors, and counts of attributes of all that pass the filter."""

from dataclasses import replace

from search.catalogue.collections import Head
from search.catalogue.session import Database
from search.query_facets import counted
from search.query_vectors import raw_vectors
from search.rankings import Asked
from search.types import Results


def with_what_is_asked(database: Database, head: Head, asked: Asked, results: Results) -> Results:
    """The results with hits' vectors and facets, if the query asks for them; a damaged vector is left out."""
    if asked.vectors_of is not None and results.hits:
        with database.read() as session:
            vectors = raw_vectors(session, head, asked.vectors_of, [hit.item.id for hit in results.hits])
        results = replace(results, hits=tuple(replace(hit, vector=vectors.get(hit.item.id)) for hit in results.hits))
    if asked.query.facets:
        with database.read() as session:
            found, note = counted(session, head.id, asked.query, asked.where)
        results = replace(results, facets=found, note=results.note or note)
    return results
