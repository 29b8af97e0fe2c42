"""Vectors led towards some modalities of a sample and away from others: classifier-free guidance of predicted codes.

Each modality of a sample passes the network alone, and one more pass sees nothing. That pass is a batch of its own:
with no tokens at all attention adds nothing, while in a batch an empty row would attend to the padding of the others.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.fourm.inputs import Encoded
from anyseek.model.fourm.spaces import Embedding
from anyseek.model.generation.guidance import Guidance, combine
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.network.tokens import Fill, ModalityInput
from anyseek.model.network.transformer import FourM
from anyseek.model.seam import Sample

Weights = Mapping[str, float]  # by modality

# Beyond it the likeliest code has all the probability anyway, and logits times weights would leave float32.
_LARGEST = 1000.0


def checked_weights(samples: Sequence[Sample], weights: Sequence[Weights]) -> list[dict[str, float]]:
    """The weights of each sample's modalities, in their order, none of them beyond 1,000.

    Raises `FormatInvalid` for one that is not finite.
    """
    return [_checked(sample, given) for sample, given in zip(samples, weights, strict=True)]


def _checked(sample: Sample, given: Weights) -> dict[str, float]:
    for name in sample.values:
        if not math.isfinite(given[name]):
            raise FormatInvalid(f"the weight of {name} is {given[name]}; a weight is a finite number")
    scale = max(1.0, *(abs(given[name]) / _LARGEST for name in sample.values))
    return {name: given[name] / scale for name in sample.values}


def guided_vectors(
    network: FourM, embedding: Embedding, alone: Encoded, weights: Sequence[Weights], spaces: Sequence[str]
) -> dict[str, Tensor]:
    """Unit vectors (B, d) by space. `alone` has a row for each modality of B samples, in the order of their weights."""
    context, nothing = network.encode(alone.inputs, alone.fill), network.encode(_emptied(alone), Fill(0, 0))
    vectors = {}
    for space in spaces:
        of = embedding.spaces[space]
        conditional, unconditional = (network.decode_global(seen, [of.key])[of.key] for seen in (context, nothing))
        found = of.vectors(_led(conditional, unconditional[0], weights), embedding.decoding)
        added = embedding.added(alone.own, space)
        vectors[space] = found if added is None else F.normalize(found + _averaged(added, weights), dim=1)
    return vectors


def _emptied(encoded: Encoded) -> dict[str, ModalityInput]:
    """The inputs of one sample that has nothing."""
    return {
        key: ModalityInput(given.values[:1], torch.ones_like(given.mask[:1])) for key, given in encoded.inputs.items()
    }


def _led(conditional: Tensor, unconditional: Tensor, weights: Sequence[Weights]) -> Tensor:
    """Guided logits (B, n, V), from those of each modality alone (rows, n, V) and of nothing (n, V)."""
    groups = torch.split(conditional, [len(given) for given in weights])
    guidances = [Guidance.weighted(list(given.values()), list(given)) for given in weights]
    return torch.stack(
        [combine([*rows, unconditional], guidance) for rows, guidance in zip(groups, guidances, strict=True)]
    )


def _averaged(added: Tensor, weights: Sequence[Weights]) -> Tensor:
    """What own vectors add (rows, d), by weight relative to all weights above 0, or to all where none is: (B, d)."""
    groups = torch.split(added, [len(given) for given in weights])
    return torch.stack([_average(rows, list(given.values())) for rows, given in zip(groups, weights, strict=True)])


def _average(rows: Tensor, weights: Sequence[float]) -> Tensor:
    total = sum(weight for weight in weights if weight > 0) or sum(map(abs, weights)) or 1.0
    average: Tensor = rows.new_tensor([weight / total for weight in weights]) @ rows
    return average
