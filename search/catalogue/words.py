"""Full text: which items have a word in their key, caption or attributes.

How words are stored and indexed: `anyseek.search.catalogue.derived_tables`.
"""

import math

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, facets
from anyseek.search.filters.tree import Filter
from anyseek.search.query.words import words_of
from anyseek.search.types import IdArray

_FIND = {
    "sqlite": text("SELECT rowid FROM words_index WHERE words_index MATCH :wanted"),
    "postgresql": text(
        "SELECT item_id FROM words WHERE array_to_tsvector(array_prepend('@' || CAST(collection_id AS text), "
        "string_to_array(words, ' '))) @@ CAST(:wanted AS tsquery)"
    ),
}


def ranked(session: Session, collection_id: int, query: str, where: Filter | None, most: int) -> list[tuple[int, int]]:
    """The items that have one of the words asked for and pass a `checked` filter: (item id, rank), at most `most`.

    Those with more of the words come first, and rarer words count more. Items with the same words have the same rank.
    """
    found = {word: _ids(session, collection_id, word) for word in dict.fromkeys(words_of(query))}
    every = np.unique(np.concatenate([np.empty(0, np.int64), *found.values()]))
    if where is not None:
        every = facets.ids_where(session, collection_id, where, every)
    if not len(every):
        return []
    count, scores = collections.count(session, collection_id), np.zeros(len(every))
    for ids in found.values():
        if len(ids):
            scores[np.isin(every, ids, assume_unique=True)] += math.log(1 + count / len(ids))
    scores = scores.round(9)  # the order of a sum makes no rank
    order = np.lexsort((every, -scores))
    ranks = 1 + np.searchsorted(-scores[order], -scores[order], side="left")
    return list(zip(every[order][:most].tolist(), ranks[:most].tolist(), strict=True))


def _ids(session: Session, collection_id: int, word: str) -> IdArray:
    """Words are letters, digits and marks, so quotes hold them."""
    dialect = session.get_bind().dialect.name
    wanted = {
        "sqlite": f'collection_id : "{collection_id}" AND words : "{word}"',
        "postgresql": f"'@{collection_id}' & '{word}'",
    }
    return np.unique(np.fromiter(session.scalars(_FIND[dialect], {"wanted": wanted[dialect]}), np.int64))
