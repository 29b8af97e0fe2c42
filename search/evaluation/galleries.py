"""What may be searched: the things of a set as items of one kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from search.evaluation.asked import Asked
from search.evaluation.embedding import EVERYTHING, EXACT, PREDICTED, STORED, SetVectors
from search.evaluation.measures import IntArray
from search.evaluation.rows import Rows

REST = "everything else"
_PICTURE = "rgb"


@dataclass(frozen=True)
class Gallery:
    """Items that have the modalities `contents`; `vectors` by kind: `predicted` and `exact`, or `stored` alone.

    `looks_like` is the modality that stands for the items in the baselines, None if nothing does.
    """

    name: str
    contents: frozenset[str]
    vectors: Mapping[str, Rows]
    looks_like: str | None

    @property
    def rows(self) -> Rows:
        """The items: those of any kind of vectors, which are of the same things."""
        return next(iter(self.vectors.values()))

    @property
    def places(self) -> IntArray:
        return self.rows.places

    def kinds(self, space: str) -> tuple[str, ...]:
        """The kinds of vectors there are in a space, the one that the service has last."""
        return tuple(kind for kind, rows in self.vectors.items() if space in rows.vectors)


def galleries_for(line: Asked, vectors: SetVectors) -> Iterator[Gallery]:
    """Items of every modality alone; where whole things were embedded also of all, and of all but what the line asks.

    The baselines have one vector an item: that of the picture, where items have several modalities.
    """
    for modality, rows in vectors.single.items():
        exact = {EXACT: vectors.exact[modality]} if modality in vectors.exact else {}
        yield Gallery(modality, frozenset({modality}), {PREDICTED: rows, **exact}, modality)
    everything = frozenset(vectors.single)
    picture = _PICTURE if _PICTURE in everything else None
    if EVERYTHING in vectors.whole:
        yield Gallery(EVERYTHING, everything, {STORED: vectors.whole[EVERYTHING]}, picture)
    if line.name in vectors.whole and not line.from_outside:
        rest = everything.difference(line.modalities)
        looks_like = picture if picture in rest else None
        yield Gallery(REST, rest, {STORED: vectors.whole[line.name]}, looks_like)
