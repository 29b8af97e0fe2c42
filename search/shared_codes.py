"""Which codes a query and an item have in common, where a space is predicted as codes, and how sure the model is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import CodeEmbedder, Embedder, FloatArray, Fusion, Sample
from anyseek.search.explanation import SharedCodes
from anyseek.search.queries import Plan
from anyseek.search.query_vectors import ItemVectors

Codes = npt.NDArray[np.int64]
_LEAST = 1e-30  # a probability, so that its logarithm is finite
_TOGETHER = -1  # the place of all parts of a joint query


@dataclass(frozen=True)
class _Told:
    """The codes (h,) of a part, and how likely the model finds all codes: (h, K), None of an item of the query."""

    codes: Codes
    probabilities: FloatArray | None

    def shared(self, held: Codes, count: int) -> SharedCodes:
        """What it has in common with the codes (h,) of an item."""
        agree = tuple(np.flatnonzero(self.codes == held).tolist())
        if self.probabilities is None:
            return SharedCodes(agree, len(held), count, None, None)
        logarithms = np.log(np.maximum(self.probabilities.astype(np.float64), _LEAST))
        entropy = -(self.probabilities * logarithms).sum(axis=1).mean()
        of_item = logarithms[np.arange(len(held)), held].mean()
        return SharedCodes(agree, len(held), count, float(np.exp(entropy)), float(np.exp(of_item) * count))


@dataclass(frozen=True)
class RankingCodes:
    """The codes of a ranking's parts by their places, of all together if they were joint, and of items by id.

    `count` is how many codes there are at a place.
    """

    parts: Mapping[int, _Told] = field(default_factory=dict)
    items: Mapping[int, Codes] = field(default_factory=dict)
    count: int = 0

    def shared(self, place: int, item_id: int) -> SharedCodes | None:
        """What a part and an item have in common; None if either has no codes."""
        told, held = self.parts.get(place), self.items.get(item_id)
        return None if told is None or held is None else told.shared(held, self.count)

    def together(self, item_id: int) -> SharedCodes | None:
        """What all parts of a joint query and an item have in common."""
        return self.shared(_TOGETHER, item_id)


def ranking_codes(
    embedder: Embedder, plan: Plan, stored: ItemVectors, vectors: Mapping[int, FloatArray]
) -> RankingCodes:
    """The codes of a ranking and of items with raw `vectors` by id; none if its space is not predicted as codes.

    `stored` has the raw vectors of items that are parts. Takes one pass of the model.
    """
    space = plan.space.name
    if not isinstance(embedder, CodeEmbedder) or space not in embedder.code_spaces or not vectors:
        return RankingCodes()
    samples = _samples(plan)
    found = embedder.code_probabilities(list(samples.values()), space)
    told = {place: _Told(of_part.argmax(axis=1), of_part) for place, of_part in zip(samples, found, strict=True)}
    for place, part in enumerate(plan.parts):
        vector = None if part.item is None else stored.get((part.collection, part.item))
        if isinstance(vector, np.ndarray):
            told[place] = _Told(embedder.codes_of(vector[np.newaxis], space)[0], None)
    own = embedder.codes_of(np.stack(list(vectors.values())), space)
    return RankingCodes(told, dict(zip(vectors, own, strict=True)), found.shape[2])


def why_none(embedder: Embedder, spaces: Sequence[str]) -> str | None:
    """Why there are no codes in some spaces; None if one of them has codes, or words alone were asked for."""
    known = embedder.code_spaces if isinstance(embedder, CodeEmbedder) else frozenset[str]()
    if not spaces or known.intersection(spaces):
        return None
    named = " and ".join(dict.fromkeys(spaces))
    others = f"name a space that is: {', '.join(sorted(known))}" if known else f"no space of {embedder.name} is"
    return f"{named} is not predicted as codes, so none can be compared; {others}"


def _samples(plan: Plan) -> dict[int, Sample]:
    """What is given to the model for each part with a value, and for all together where they are joint."""
    values = {
        place: (part.modality, part.value)
        for place, part in enumerate(plan.parts)
        if part.modality is not None and part.value is not None
    }
    samples = {place: Sample({modality: value}) for place, (modality, value) in values.items()}
    if plan.fusion is Fusion.JOINT and len(values) > 1:
        samples[_TOGETHER] = Sample(dict(values.values()))
    return samples
