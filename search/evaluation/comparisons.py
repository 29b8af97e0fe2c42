"""Ways of answering a query that differ in one thing, side by side on the same queries."""

from dataclasses import dataclass
from enum import StrEnum

from model.embedder import CodedSpaces, CodeEmbedder, Embedder
from search.evaluation.measures import Gain, Scores


class Compare(StrEnum):
    """What may be done in two ways."""

    FUSION = "fusion"  # parts of a query late or jointly
    GALLERY = "gallery"  # items by the space's own extractor or as predicted
    DECODING = "decoding"  # codes by all of their probabilities or by the most probable one
    CEILING = "ceiling"  # exact vectors as they are or as codes tell them


@dataclass(frozen=True)
class Comparison:
    """One kind of query in one gallery of one space, answered as the service does it and with one thing changed.

    `usual` and `other` are the two ways of `what`, such as `late` and `joint`; `gallery_kind` and `fusion` are the
    usual ones. `gain` is that of the other way.
    """

    what: Compare
    query: str
    gallery: str
    gallery_kind: str
    space: str
    fusion: str | None
    usual: str
    other: str
    usual_scores: Scores
    other_scores: Scores
    gain: Gain


def comparable(embedder: Embedder) -> frozenset[Compare]:
    """What can be compared with a model: ceilings and ways of decoding only where it has codes."""
    found = {Compare.FUSION, Compare.GALLERY}
    if isinstance(embedder, CodeEmbedder):
        found.add(Compare.DECODING)
    if isinstance(embedder, CodedSpaces):
        found.add(Compare.CEILING)
    return frozenset(found)
