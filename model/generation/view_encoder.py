"""What the decoder attends to in each pass of guided generation, encoded again only when it changed."""

from collections.abc import Mapping

import torch

from model.embedder import UnsupportedModality
from model.formats.spans import SpecialIds
from model.generation.guidance import Guidance
from model.generation.state import State, emptied
from model.tokens import ModalityInput
from model.transformer import Context, FourM

Inputs = Mapping[str, ModalityInput]


class ViewEncoder:
    """Encodes a state with some conditions hidden, and keeps the last context of each pass."""

    def __init__(self, network: FourM, ids: SpecialIds) -> None:
        self._network, self._ids = network, ids
        self._kept: dict[int, tuple[Inputs, Context]] = {}

    def context(self, place: int, state: State, guidance: Guidance) -> Context:
        """The context of pass number `place` of a guided step, which sees `state` without some conditions.

        Raises `UnsupportedModality` where the state holds no modality that the network takes.
        """
        inputs = self._inputs(state, guidance.hidden(place), separate=guidance.separate)
        kept = self._kept.get(place)
        if kept is None or not _same(kept[0], inputs):
            kept = self._kept[place] = inputs, self._network.encode(inputs)
        return kept[1]

    def _inputs(self, state: State, hidden: frozenset[str], *, separate: bool) -> Inputs:
        """What the encoder sees: modalities with an input entry, or one without any where there is no other."""
        config = self._network.config
        inputs = {}
        for key, entry in state.items():
            if key not in config.domains_in:
                continue
            if key not in hidden:
                inputs[key] = ModalityInput(entry.values, entry.input_mask)
            elif separate:
                inputs[key] = ModalityInput(entry.values, torch.ones_like(entry.input_mask))
            else:
                inputs[key] = emptied(entry, config.row(key).kind, self._ids)
        if not inputs:
            known = ", ".join(config.domains_in)
            raise UnsupportedModality(f"the network takes none of {', '.join(state)}; it takes {known}")
        used = {key: entry for key, entry in inputs.items() if not entry.mask.all()}
        first = next(iter(inputs))
        return used or {first: inputs[first]}


def _same(first: Inputs, second: Inputs) -> bool:
    return list(first) == list(second) and all(
        torch.equal(first[key].mask, second[key].mask) and torch.equal(first[key].values, second[key].values)
        for key in first
    )
