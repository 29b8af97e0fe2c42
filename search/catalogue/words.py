"""Full text: which items have a word in their key, caption or attributes.

How words are stored and indexed: `anyseek.search.catalogue.derived_tables`.
"""

import math

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.search.catalogue import collections, facets
from anyseek.search.catalogue.interruption import filter_deadline
from anyseek.search.filters.tree import Filter
from anyseek.search.query.words import words_of
from anyseek.search.types import IdArray

_MAX_CACHED_IDS = 4_000_000  # ids, of 8 bytes
_NAMED = 40  # characters of the words in an error message
_FIND = {
    "sqlite": text("SELECT rowid FROM words_index WHERE words_index MATCH :query"),
    "postgresql": text(
        "SELECT item_id FROM words WHERE array_to_tsvector(array_prepend('@' || CAST(collection_id AS text), "
        "string_to_array(words, ' '))) @@ CAST(:query AS tsquery)"
    ),
}


class WordSearch:
    """Full-text search over one collection in a session; caches rankings, and up to `_MAX_CACHED_IDS` ids by word."""

    def __init__(self, session: Session, collection_id: int) -> None:
        self._session, self._collection_id = session, collection_id
        self._ranked: dict[tuple[frozenset[str], Filter | None, int], IdArray] = {}
        self._ids_by_word: dict[str, IdArray] = {}
        self._capacity = _MAX_CACHED_IDS

    def ranked(self, query: str, where: Filter | None, most: int) -> IdArray:
        """Ids and ranks (n, 2) of at most `most` items that have a word of the query and pass a `checked` filter.

        Items with more of the words come first, and rarer words count more. Items with the same words have the same
        rank. Raises what `raise_if_abandoned` raises.
        """
        raise_if_abandoned()
        key = frozenset(words_of(query)), where, most
        if key not in self._ranked:
            self._ranked[key] = self._rank(*key)
        return self._ranked[key]

    def _rank(self, words: frozenset[str], where: Filter | None, most: int) -> IdArray:
        with filter_deadline(self._session, f"the search for {' '.join(sorted(words))[:_NAMED]!r}"):
            of_words = [self._ids(word) for word in sorted(words)]
            every = np.unique(np.concatenate([np.empty(0, np.int64), *of_words]))
        if where is not None:
            every = facets.matching_ids(self._session, self._collection_id, where, every)
        if not len(every):
            return np.empty((0, 2), np.int64)
        count, scores = collections.count(self._session, self._collection_id), np.zeros(len(every))
        for ids in of_words:
            if len(ids):
                scores[np.isin(every, ids, assume_unique=True)] += math.log(1 + count / len(ids))
        scores = scores.round(9)  # the order of summation must not affect ranks
        order = np.lexsort((every, -scores))
        ranks = 1 + np.searchsorted(-scores[order], -scores[order], side="left")
        return np.stack([every[order][:most], ranks[:most]], axis=1)

    def _ids(self, word: str) -> IdArray:
        """The ids of the items with a word, ascending."""
        ids = self._ids_by_word.get(word)
        if ids is None:
            ids = self._read(word)
            if len(ids) < self._capacity:
                self._ids_by_word[word] = ids
                self._capacity -= len(ids) + 32  # the overhead of an array
        return ids

    def _read(self, word: str) -> IdArray:
        """Query the index; words are letters, digits and marks, so quoting them is safe."""
        raise_if_abandoned()
        dialect = self._session.get_bind().dialect.name
        queries = {
            "sqlite": f'collection_id : "{self._collection_id}" AND words : "{word}"',
            "postgresql": f"'@{self._collection_id}' & '{word}'",
        }
        return np.unique(np.fromiter(self._session.scalars(_FIND[dialect], {"query": queries[dialect]}), np.int64))
