"""The lines of a recall matrix: the kinds of query in a set, and the right items for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anyseek.model.data.aligned import COMBINATIONS, AlignedSet, Labels, QuerySet
from anyseek.model.seam import FloatArray
from anyseek.search.answers.ranks import NO_ITEM, BoolArray, IntArray
from anyseek.search.evaluation.measures import Answers


@dataclass(frozen=True)
class Rows:
    """Vectors of some of a sequence's members: `places` int64 (n,), ascending; `vectors` (n, d) by space or encoder."""

    places: IntArray
    vectors: Mapping[str, FloatArray]

    def rows_of(self, places: IntArray) -> IntArray:
        """Return the row of each place, -1 if it has none: int64 of the same shape."""
        found = np.searchsorted(self.places, places)
        clipped = np.minimum(found, len(self.places) - 1)
        rows: IntArray = np.where((self.places[clipped] == places) & (places >= 0), clipped, -1).astype(np.int64)
        return rows


@dataclass(frozen=True)
class QueryKind:
    """Queries of one kind.

    `parts` name the vectors of its parts: modalities of the set's own things, or the name of a query set. `modalities`
    are those of the parts. `places` int64 (n,) says which things, or members of the query set, are the queries. `own`
    int64 (n,) is the place of the thing that each should find, or `NO_ITEM` if labels decide.
    """

    name: str
    parts: tuple[str, ...]
    modalities: tuple[str, ...]
    places: IntArray
    own: IntArray
    labels: BoolArray
    is_query_set: bool

    def answers(self, gallery: Rows, labels: BoolArray, modality: str) -> tuple[IntArray, Answers]:
        """Return the queries for a gallery of items of one modality, and their right answers.

        A query whose own item is not in the gallery is left out. `labels` are those of all things in the set.
        """
        rows = gallery.rows_of(self.own)
        selected = np.flatnonzero((self.own == NO_ITEM) | (rows != NO_ITEM))
        own_is_query = not self.is_query_set and modality in self.modalities
        return selected, Answers(rows[selected], self.labels[selected], labels[gallery.places], own_is_query)


def label_table(labels: Labels, names: Sequence[str], count: int) -> BoolArray:
    """Return which of `names` each of `count` things has as a label: bool (count, len(names))."""
    column = {name: number for number, name in enumerate(names)}
    table = np.zeros((count, len(names)), np.bool_)
    for row, item_labels in enumerate(labels):
        table[row, [column[name] for name in item_labels if name in column]] = True
    return table


def query_kinds(aligned: AlignedSet, rows: Mapping[str, Rows]) -> list[QueryKind]:
    """Return a line for each modality, combination of modalities and query set that has vectors in `rows`."""
    names = label_names(aligned)
    labels = label_table(aligned.labels, names, len(aligned.keys))
    outside = {queries.name: queries for queries in aligned.queries}
    lines = [
        QueryKind(name, (name,), (name,), part.places, part.places, labels[part.places], False)
        for name, part in rows.items()
        if name not in outside
    ]
    for modalities in COMBINATIONS:
        if all(name in rows for name in modalities):
            places = np.intersect1d(rows[modalities[0]].places, rows[modalities[1]].places)
            if len(places):
                name = "+".join(modalities)
                lines.append(QueryKind(name, modalities, modalities, places, places, labels[places], False))
    lines += [_query_set_kind(outside[name], aligned, names, part) for name, part in rows.items() if name in outside]
    return lines


def label_names(aligned: AlignedSet) -> list[str]:
    return sorted({name for own in aligned.labels for name in own})


def _query_set_kind(queries: QuerySet, aligned: AlignedSet, names: Sequence[str], rows: Rows) -> QueryKind:
    place_of = {key: number for number, key in enumerate(aligned.keys)}
    own = np.array([NO_ITEM if key is None else place_of.get(key, NO_ITEM) for key in queries.own], np.int64)
    labels = label_table(queries.labels, names, len(queries.samples))
    places = rows.places
    return QueryKind(queries.name, (queries.name,), (queries.modality,), places, own[places], labels[places], True)
