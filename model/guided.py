"""The interface of embedders that parts of a query lead, towards what they say or away from it. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from anyseek.model.seam import Embedder, FloatArray, Sample


@runtime_checkable
class GuidedEmbedder(Embedder, Protocol):
    """An embedder that can be led towards some modalities of a sample, and away from others, by weight."""

    @property
    def guided_spaces(self) -> frozenset[str]:
        """The spaces in which it can: those whose vectors are decoded from predicted codes."""
        ...

    def embed_guided(
        self, samples: Sequence[Sample], weights: Sequence[Mapping[str, float]], spaces: Sequence[str]
    ) -> dict[str, FloatArray]:
        """Combine what each modality of a sample predicts, by classifier-free guidance: float32 unit rows (n, d).

        `weights` has a finite number for every modality of each sample. With logits u of no input and c_i of a modality
        alone, codes are decoded from u + sum_i w_i (c_i - u): weights that add up to 1 interpolate, larger ones follow
        the modalities more closely, and a negative one leads away. A single modality of weight 1 has the vector of
        `embed`. All weights of a sample are scaled down together where one is beyond 1,000.

        Raises as `embed`, `KeyError` for a space that is not one of `guided_spaces`, and `FormatInvalid` for a weight
        that is not finite.
        """
        ...
