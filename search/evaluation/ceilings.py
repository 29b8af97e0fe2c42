"""How much of a space its codes can tell at best: exact vectors through codes and back, among the exact ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from model.embedder import CodedSpaces, FloatArray
from search.evaluation.comparisons import Compare
from search.evaluation.encoder_vectors import EXTRACTORS, TEXT
from search.evaluation.instruments import Instruments
from search.evaluation.measures import Answers, Estimate, score
from search.evaluation.reading import EncodedSet
from search.fusion import centre

_DECIMALS = 4  # vectors that agree in so many are of the same thing, such as the same words twice


@dataclass(frozen=True)
class Ceiling:
    """How `vectors` different exact vectors, made of `modality`, find themselves after going through codes.

    `cosine` is the mean cosine to themselves. Both sides are centred on their own means.
    """

    modality: str
    space: str
    vectors: int
    at_1: Estimate
    at_10: Estimate
    cosine: float


def ceilings(instruments: Instruments, encoded: EncodedSet) -> Iterator[Ceiling]:
    """A ceiling for each space whose extractor is among the encoders, from pictures and from words."""
    embedder = instruments.embedder
    if Compare.CEILING not in instruments.compare or not isinstance(embedder, CodedSpaces):
        return
    for space in instruments.spaces:
        for modality in ("rgb", TEXT):
            exact = _exact(encoded, space, modality)
            if exact is not None:
                yield _ceiling(embedder, space, modality, exact)


def _exact(encoded: EncodedSet, space: str, modality: str) -> FloatArray | None:
    """Different vectors of the space's own extractor (n, d); None if it is not among the encoders."""
    if space not in EXTRACTORS or modality not in encoded.rows:
        return None
    vectors = encoded.rows[modality].vectors.get(EXTRACTORS[space])
    if vectors is None:
        return None
    _, first = np.unique(vectors.round(_DECIMALS), axis=0, return_index=True)
    different: FloatArray = vectors[np.sort(first)]
    return different


def _ceiling(embedder: CodedSpaces, space: str, modality: str, exact: FloatArray) -> Ceiling:
    told = embedder.through_codes(exact, space)
    told, exact = centre(told, told.mean(axis=0)), centre(exact, exact.mean(axis=0))
    count = len(exact)
    none = np.zeros((count, 0), np.bool_)
    found = score(told, exact, Answers(np.arange(count), none, none))
    assert found is not None, "every vector has itself to find"
    cosine = float((told * exact).sum(axis=1).mean())
    return Ceiling(modality, space, count, found.at_1, found.at_10, cosine)
