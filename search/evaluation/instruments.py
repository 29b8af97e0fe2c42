"""The model and encoders that a matrix is measured with, and the ways of answering that can be compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from anyseek.model.seam import CodeEmbedder, Embedder, FloatArray, Sample
from anyseek.search.evaluation.encoder_vectors import Encoders
from anyseek.search.evaluation.measures import Gain, Scores

Progress = Callable[[str], None]


class Compare(StrEnum):
    """A step that can be done in several ways."""

    FUSION = "fusion"  # fuse the parts of a query late or jointly
    GALLERY = "gallery"  # take items from the space's own extractor or as predicted
    DECODING = "decoding"  # decode codes by all of their probabilities or by the most probable one
    CEILING = "ceiling"  # take exact vectors unchanged or as decoded from their codes


@dataclass(frozen=True)
class Instruments:
    """The model, some of its spaces, the encoders (None: no baselines), and what to compare besides the matrix.

    With `whole_items`, things are also embedded as items with all of their modalities.
    """

    embedder: Embedder
    spaces: tuple[str, ...]
    encoders: Encoders | None
    compare: frozenset[Compare] = frozenset()
    whole_items: bool = False

    def embed(self, samples: Sequence[Sample]) -> dict[str, FloatArray]:
        """Return vectors by space; if decoding is compared, also those decoded the other way, by `otherwise(space)`."""
        if Compare.DECODING not in self.compare or not isinstance(self.embedder, CodeEmbedder):
            return self.embedder.embed(samples, self.spaces)
        own = self.embedder.decoding
        vectors: dict[str, FloatArray] = {}
        for decoding, found in self.embedder.embed_decoded(samples, self.spaces).items():
            vectors |= found if decoding is own else {otherwise(space): rows for space, rows in found.items()}
        return vectors


def otherwise(space: str) -> str:
    """Return the name of a space's vectors that are decoded the other way than the model's own."""
    return f"{space}, decoded otherwise"


@dataclass(frozen=True)
class Comparison:
    """One kind of query in one gallery of one space, answered as the service does and with one change.

    `usual` and `other` are the two ways of `what`, such as `late` and `joint`; `gallery_kind` and
    `fusion` are the usual ones. `gain` is the gain of the other way.
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
    """Return what can be compared for a model: ceilings and ways of decoding only if it has codes."""
    found = {Compare.FUSION, Compare.GALLERY}
    if isinstance(embedder, CodeEmbedder):
        found.add(Compare.DECODING)
        if embedder.exact_spaces:
            found.add(Compare.CEILING)
    return frozenset(found)
