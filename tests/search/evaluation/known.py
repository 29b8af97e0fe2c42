"""An embedder whose vectors are known, and aligned sets of numbers: recall can be counted by hand."""

from collections.abc import Mapping, Sequence

import numpy as np

from anyseek.model.data.aligned import AlignedSet
from anyseek.model.seam import EmbeddingSpace, FloatArray, Fusion, Regions, Sample, Value

DIMENSION = 128
LEAN = 100  # the axis that all raw vectors lean towards


def thing(number: int, *modalities: str) -> Sample:
    """Thing `number` as values of some modalities, each of which tells the number."""
    values: dict[str, Value] = {
        "rgb": np.full((4, 4, 3), number, np.uint8),
        "depth": np.full((4, 4), number, np.float32),
        "semseg": Regions(np.full((4, 4), number, np.int32)),
        "caption": f"thing {number}",
        "color_palette": np.full((1, 3), number, np.uint8),
    }
    return Sample({name: values[name] for name in modalities})


def number_of(value: Value) -> int:
    match value:
        case str():
            return int(value.split()[-1])
        case Regions():
            return int(value.ids.flat[0])
        case _:
            return int(np.asarray(value).flat[0])


class NumbersEmbedder:
    """Thing n has axis n, and leans towards a common direction that centring takes off again.

    Depth maps of odd things say the next thing; captions say nothing (axis 120); an exact gallery of pictures has the
    lean alone on axis 127 instead of 100. The space `other` is the same without any lean.
    """

    name = "numbers"
    fingerprint = "numbers-1"
    fusion = Fusion.LATE
    modalities = frozenset({"rgb", "depth", "caption"})

    def __init__(self, modalities: Sequence[str] = ("rgb", "depth", "caption")) -> None:
        self.modalities = frozenset(modalities)
        lean = np.eye(DIMENSION, dtype=np.float32)[LEAN] * 0.7
        means = dict.fromkeys(("rgb", "depth", "caption"), lean[np.newaxis])
        zero = np.zeros(DIMENSION, np.float32)
        self.spaces: Mapping[str, EmbeddingSpace] = {
            "main": EmbeddingSpace("main", DIMENSION, "numbers-1/main", lean, means),
            "other": EmbeddingSpace("other", DIMENSION, "numbers-1/other", zero),
        }
        self.embedded: list[Sample] = []

    def default_space(self, modality: str) -> str:
        return "main"

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.embedded += samples
        return {space: np.stack([self._vector(sample, space, LEAN) for sample in samples]) for space in spaces}

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        lean = {space: 127 if space == "main" and "rgb" in samples[0].values else LEAN for space in spaces}
        return {space: np.stack([self._vector(sample, space, lean[space]) for sample in samples]) for space in spaces}

    def _vector(self, sample: Sample, space: str, lean: int) -> FloatArray:
        total = np.zeros(DIMENSION, np.float32)
        for modality, value in sample.values.items():
            number = number_of(value)
            if modality == "depth" and number % 2:
                number += 1
            total[120 if modality == "caption" else number] += 1
        if space == "main":
            total[lean] += 1
        unit: FloatArray = (total / np.linalg.norm(total)).astype(np.float32)
        return unit


def numbers(count: int, *modalities: str, name: str = "numbers") -> AlignedSet:
    """Things 0 to `count` - 1, all with the same modalities."""
    samples = [thing(number, *modalities) for number in range(count)]
    return AlignedSet(name, tuple(f"t{number}" for number in range(count)), samples)
