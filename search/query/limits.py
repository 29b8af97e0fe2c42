"""What a query may ask for: how many parts, hits, groups and facets, and of which items."""

import math

from anyseek.search.answers.explanation import MOST_EXPLAINED
from anyseek.search.confidence.probabilities import PLACE
from anyseek.search.errors import BadQuery, LimitExceeded
from anyseek.search.filters.tree import And, BadFilter, Exists, Filter, checked
from anyseek.search.query.words import words_of
from anyseek.search.settings import Limits
from anyseek.search.types import Query, Words

# How many items are looked at first for groups: so many for each hit, but at least a few.
_TRIED_OF_GROUPS, _FEWEST_OF_GROUPS = 4, 100
# Up to so many hits, so many of the best of each ranking are added: the same for these pages, so that they are pieces
# of one order. Beyond them as many are added as a query may have hits.
_USUAL_HITS, _DEPTH_OF_RANKINGS = 100, 1_000
_MOST_WORDS = 100
_MOST_FACETS = 20


def check_sizes(query: Query, limits: Limits) -> None:
    """Raises `BadQuery` and `LimitExceeded`, and `BadFilter` for facets that no attribute can be."""
    if not query.parts and not query.words:
        raise BadQuery("the query has no parts; give at least one text, file, palette or item")
    parts = len(query.parts) + len(query.words)
    if parts > limits.parts:
        raise LimitExceeded(f"the query has {parts} parts; the most is {limits.parts}")
    for words in query.words:
        _check_words(words)
    _check_page(query, limits)
    _check_groups(query, limits)
    _check_spaces(query)
    _check_facets(query)
    _check_explained(query)
    hits = query.k * query.group_size
    if query.vectors and hits > limits.hits_with_vectors:
        raise LimitExceeded(f"{hits} hits are asked for; the most is {limits.hits_with_vectors} for hits with vectors")


def _check_words(words: Words) -> None:
    if not (math.isfinite(words.weight) and words.weight > 0):
        raise BadQuery(f"words have the weight {words.weight:g}; it is above 0, as words push nothing away")
    count = len(words_of(words.text))
    if count == 0:
        raise BadQuery(f"the words {words.text[:40]!r} hold no letter or digit")
    if count > _MOST_WORDS:
        raise LimitExceeded(f"{count} words are asked for at once; the most is {_MOST_WORDS}")


def _check_explained(query: Query) -> None:
    if query.explain < 0:
        raise BadQuery(f"explain is {query.explain}; it is how many of the first hits to explain, 0 or more")
    explained = query.explain + len(query.explain_keys)
    if explained > MOST_EXPLAINED:
        raise LimitExceeded(f"{explained} hits and items are to be explained; the most is {MOST_EXPLAINED}")


def _check_page(query: Query, limits: Limits) -> None:
    if query.k < 1:
        raise BadQuery(f"k is {query.k}; the number of hits must be from 1 to {limits.hits}")
    if query.offset < 0:
        raise BadQuery(f"offset is {query.offset}; it is how many of the best hits to leave out, 0 or more")
    if query.k > limits.hits:
        raise LimitExceeded(f"k is {query.k}; the most is {limits.hits}")
    if query.offset + query.k > limits.hits:
        raise LimitExceeded(f"offset is {query.offset} and k is {query.k}; together they are at most {limits.hits}")
    if query.min_score is not None and not -1 <= query.min_score <= 1:
        raise BadQuery(f"min_score is {query.min_score:g}; scores are from -1 to 1")
    if query.min_probability is not None and not 0 <= query.min_probability <= 1:
        raise BadQuery(f"min_probability is {query.min_probability:g}; probabilities are from 0 to 1")


def _check_groups(query: Query, limits: Limits) -> None:
    if query.group_by is None and query.group_size != 1:
        raise BadQuery(f"group_size is {query.group_size}, but there are no groups; give group_by, too")
    if query.group_size < 1:
        raise BadQuery(f"group_size is {query.group_size}; it is how many hits each group may have, 1 or more")
    if (query.offset + query.k) * query.group_size > limits.hits:
        raise LimitExceeded(f"offset and k together, times group_size, are at most {limits.hits} hits")


def _check_spaces(query: Query) -> None:
    if not query.spaces:
        return
    if query.space is not None:
        raise BadQuery("the query has a space and spaces; give one or the other")
    if len(set(query.spaces)) < len(query.spaces):
        raise BadQuery("the query has a space twice; name each once")
    if any(part.vector is not None for part in query.parts) and len(query.spaces) > 1:
        raise BadQuery("a part is a vector, which is of one space; ask in that space alone")
    if len(query.spaces) > 1 and not query.words and not any(part.weight > 0 for part in query.parts):
        raise BadQuery("a query in several spaces needs a part with a weight above 0")


def _check_facets(query: Query) -> None:
    if len(query.facets) > _MOST_FACETS:
        raise LimitExceeded(f"the query has {len(query.facets)} facets; the most is {_MOST_FACETS}")
    if len(set(query.facets)) < len(query.facets):
        raise BadQuery("the query has a facet twice; name each attribute once")
    for path in query.facets:
        if path.startswith("@"):
            raise BadQuery(f"a facet is {path[:40]!r}; it takes the path of an attribute, such as place.town")
        checked(Exists(path))


def where_of(query: Query) -> Filter | None:
    """The filter of the items that can be hits; with groups only those that have the attribute. Raises `BadFilter`."""
    where = None if query.where is None else checked(query.where)
    if query.group_by is None:
        return where
    if query.group_by.startswith("@"):
        raise BadFilter(f"group_by is {query.group_by[:40]!r}; it takes the path of an attribute, such as place.town")
    has_value = checked(Exists(query.group_by))
    return has_value if where is None else And((where, has_value))


def depth_of(query: Query, rankings: int, limits: Limits) -> int:
    """How many of the nearest items to look at first; if one ranking is in too few groups, more are looked at."""
    hits = query.reach * query.group_size
    if rankings > 1:
        return min(_DEPTH_OF_RANKINGS, limits.hits) if hits <= _USUAL_HITS else limits.hits
    if query.group_by is None:
        return max(query.reach, PLACE)
    return max(_FEWEST_OF_GROUPS, _TRIED_OF_GROUPS * hits)
