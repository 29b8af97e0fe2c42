"""Encodes an aligned set with the specialist encoders alone; both baselines are computed from these vectors."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.values import as_picture
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.evaluation.rows import Chunk, Gatherer, Rows

VISUAL, SENTENCE = "visual", "sentence"  # EfficientNet-Lite0, 1,280 numbers; MiniLM, 384 numbers
TEXT = "caption"
EXTRACTORS = {"visual_global": VISUAL, "semantic_global": SENTENCE}  # by space, the kind of its exact vectors


class Encoders(Protocol):
    """`anyseek.model.encoders.baselines.Encoders`, which needs torch."""

    def pictures(self, pictures: Sequence[ByteArray]) -> tuple[FloatArray, FloatArray]: ...
    def sentences(self, texts: Sequence[str]) -> FloatArray: ...
    def conse(self, logits: FloatArray) -> FloatArray: ...


class EncoderVectors:
    """Encodes an aligned set a chunk at a time.

    Captions get a `sentence` vector. Anything that can be rendered as a picture gets a `visual` vector, and the ConSE
    vector of its class probabilities as `sentence`. Other values get no vector.
    """

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders
        self._vectors = Gatherer()

    def add(self, chunk: Chunk, modalities: frozenset[str]) -> None:
        """Encode the values of `modalities` that the samples have."""
        present = {name for sample in chunk.samples for name in sample.values}
        for modality in sorted(modalities & present):
            part = chunk.having([modality])
            vectors = self._encode(modality, part.samples)
            if vectors:
                self._vectors.add(modality, part.places, vectors)

    def result(self) -> dict[str, Rows]:
        """The vectors by modality."""
        return self._vectors.rows()

    def _encode(self, modality: str, samples: Sequence[Sample]) -> Mapping[str, FloatArray]:
        values = [sample.values[modality] for sample in samples]
        if modality == TEXT:
            return {SENTENCE: self._encoders.sentences([str(value) for value in values])}
        pictures = [picture for value in values if (picture := as_picture(modality, value)) is not None]
        if len(pictures) < len(values):
            return {}
        visual, logits = self._encoders.pictures(pictures)
        return {VISUAL: visual, SENTENCE: self._encoders.conse(logits)}
