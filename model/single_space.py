"""The base of embedders that have one space. Imports no torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from anyseek.model.seam import (
    EmbeddingSpace,
    FloatArray,
    Fusion,
    Prediction,
    PredictOptions,
    Sample,
    Value,
    check_taken,
)


class SingleSpaceEmbedder(ABC):
    """Implements `anyseek.model.seam.Model`, but for the vectors themselves; it predicts nothing."""

    modalities: frozenset[str]
    fusion = Fusion.LATE
    targets: tuple[str, ...] = ()

    def __init__(self, name: str, fingerprint: str, space: str, prior: FloatArray) -> None:
        self.name, self.fingerprint = name, fingerprint
        self.space = EmbeddingSpace(space, len(prior), fingerprint, prior)
        self.spaces: Mapping[str, EmbeddingSpace] = {space: self.space}

    @abstractmethod
    def vectors(self, samples: Sequence[Sample]) -> FloatArray:
        """Unit vectors float32 (n, d) of one or more samples, whose modalities it takes."""

    def default_space(self, modality: str) -> str:
        """The name of the space. Raises `UnsupportedModality`."""
        check_taken(self, [modality])
        return self.space.name

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed`."""
        return self._embed_with(samples, spaces, self.vectors)

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed_gallery`: the vectors of `embed`."""
        return self.embed(samples, spaces)

    def predict(
        self, samples: Sequence[Mapping[str, Value]], targets: Sequence[str], options: PredictOptions
    ) -> list[dict[str, Prediction]]:
        """See `Predictor.predict`."""
        return [{} for _ in samples]

    def _embed_with(
        self, samples: Sequence[Sample], spaces: Sequence[str], vectors: Callable[[Sequence[Sample]], FloatArray]
    ) -> dict[str, FloatArray]:
        for space in spaces:
            self.spaces[space]
        for sample in samples:
            check_taken(self, sample.values)
        rows = vectors(samples) if samples and spaces else np.zeros((len(samples), self.space.dimension), np.float32)
        return {space: rows.copy() for space in spaces}
