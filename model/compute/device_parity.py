"""Whether a model has the same vectors on two devices, so that they may carry the same fingerprint.

The rule: of every modality and in every space, the cosine of both vectors is at least 0.9999. Devices add in different
orders, so bits differ; a ranking by vectors that agree so well differs where scores differ by less than 0.0002.
"""

from collections.abc import Mapping, Sequence

from anyseek.model.seam import Embedder, Sample

LEAST_COSINE = 0.9999


def lowest_cosines(first: Embedder, second: Embedder, samples: Sequence[Sample]) -> Mapping[str, float]:
    """The lowest cosine of each space between the vectors that two loaded copies of a model make of samples."""
    spaces = list(first.spaces)
    here, there = first.embed(samples, spaces), second.embed(samples, spaces)
    return {space: float((here[space] * there[space]).sum(axis=1).min()) for space in spaces}
