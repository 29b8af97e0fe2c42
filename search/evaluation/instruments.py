"""What a matrix is measured with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model.embedder import CodeEmbedder, Embedder, FloatArray, Sample
from search.evaluation.comparisons import Compare
from search.evaluation.encoder_vectors import Encoders

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Instruments:
    """The model, some of its spaces, the encoders (None: no baselines), and what is compared beside the matrix.

    With `whole_items` things are items of all of their modalities, too.
    """

    embedder: Embedder
    spaces: tuple[str, ...]
    encoders: Encoders | None
    compare: frozenset[Compare] = frozenset()
    whole_items: bool = False

    def embed(self, samples: Sequence[Sample]) -> dict[str, FloatArray]:
        """Vectors by space; where decoding is compared also those decoded the other way, by `otherwise(space)`."""
        if Compare.DECODING not in self.compare or not isinstance(self.embedder, CodeEmbedder):
            return self.embedder.embed(samples, self.spaces)
        own = self.embedder.decoding
        vectors: dict[str, FloatArray] = {}
        for decoding, found in self.embedder.embed_decoded(samples, self.spaces).items():
            vectors |= found if decoding is own else {otherwise(space): rows for space, rows in found.items()}
        return vectors


def otherwise(space: str) -> str:
    """The name of a space's vectors that are not decoded in the model's own way."""
    return f"{space}, decoded otherwise"
