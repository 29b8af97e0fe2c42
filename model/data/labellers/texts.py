"""Labellers that run MiniLM on captions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyseek.model.data.labellers.encoders import Encoders, checked_encoders, shared_encoders, unit
from anyseek.model.data.registry import LabellerKind
from anyseek.model.data.samples import Caption, DataSample, Origin
from anyseek.model.encoders.preprocess import looked_at


@dataclass(frozen=True)
class Options:
    """There is nothing to set."""


class CaptionStates:
    """MiniLM's output for the n captions, in their order.

    `caption_states` float16 (all tokens, 384), `caption_lengths` int32 (n,) tokens of each, `caption_vectors` unit
    float16 (n, 384).
    """

    name = "caption_states"
    needs = frozenset({"caption"})
    gives = frozenset({"caption_states", "caption_lengths", "caption_vectors"})

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        texts = [caption.text for caption in sample.values["caption"]]
        if not texts:
            return {}
        encoded = self._encoders.states(texts)
        used = ~encoded.unused
        return {
            "caption_states": encoded.states[used].numpy(),
            "caption_lengths": used.sum(dim=1).numpy().astype(np.int32),
            "caption_vectors": encoded.pooled.numpy(),
        }


class SemanticGlobal:
    """`semantic_global` unit float16 (384,): a sentence-space vector of what is shown.

    The mean of the human captions' vectors; without any, of the templated ones'; without these, the class names'
    vectors weighted by their probabilities for `rgb` (ConSE).
    """

    name = "semantic_global"
    needs: frozenset[str] = frozenset()
    gives = frozenset({"semantic_global"})

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        captions: tuple[Caption, ...] = sample.values.get("caption", ())
        human = [caption.origin is Origin.HUMAN for caption in captions]
        if captions:
            vectors = self._encoders.states([caption.text for caption in captions]).pooled
            chosen = vectors[human] if any(human) else vectors
            return {"semantic_global": unit(chosen.mean(dim=0))}
        if "rgb" in sample.values:
            return {"semantic_global": self._encoders.conse(looked_at("rgb", sample.values["rgb"]))}
        return {}


CAPTION_STATES = LabellerKind(
    Options, lambda options, place: CaptionStates(shared_encoders(place.home)), checked_encoders
)
SEMANTIC_GLOBAL = LabellerKind(
    Options, lambda options, place: SemanticGlobal(shared_encoders(place.home)), checked_encoders
)
