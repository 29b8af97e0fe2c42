"""What a query counts beside its hits: the values of attributes of all items that its filter lets through."""

from sqlalchemy.orm import Session

from search.catalogue import facet_counts, fields
from search.errors import BadQuery, LimitExceeded
from search.filters.tree import Exists, Filter, checked
from search.types import FieldCounts, Query

MOST_FACETS = 20
_VALUES = 20  # of each attribute


def check_facets(query: Query) -> None:
    """Raises `BadQuery`, `BadFilter` and `LimitExceeded` for facets that no attribute can be."""
    if len(query.facets) > MOST_FACETS:
        raise LimitExceeded(f"the query has {len(query.facets)} facets; the most is {MOST_FACETS}")
    if len(set(query.facets)) < len(query.facets):
        raise BadQuery("the query has a facet twice; name each attribute once")
    for path in query.facets:
        if path.startswith("@"):
            raise BadQuery(f"a facet is {path[:40]!r}; it takes the path of an attribute, such as place.town")
        checked(Exists(path))


def counted(
    session: Session, collection_id: int, query: Query, where: Filter | None
) -> tuple[tuple[FieldCounts, ...], str | None]:
    """The facets of a query in its order, and a sentence about one that no item of the collection has."""
    found = facet_counts.count(session, collection_id, len(query.facets), _VALUES, where, query.facets)
    by_path = {counts.field: counts for counts in found}
    for path in query.facets:
        if path not in by_path and (note := fields.note(session, collection_id, Exists(path))):
            return _in_order(query, by_path), note
    return _in_order(query, by_path), None


def _in_order(query: Query, by_path: dict[str, FieldCounts]) -> tuple[FieldCounts, ...]:
    return tuple(by_path.get(path, FieldCounts(path, 0, 0)) for path in query.facets)
