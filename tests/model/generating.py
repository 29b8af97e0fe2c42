"""Plans, batches and networks for tests of generation."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from anyseek.model.generation.schedule import Scheme, Step, TargetPlan, steps_of
from anyseek.model.generation.state import ModalityState
from anyseek.model.modalities.formats.spans import SpecialIds
from anyseek.model.network.transformer import FourM

IDS = SpecialIds(pad_id=0, end_id=1, sentinel_ids=(2, 3, 4, 5))
S1, S2 = 3, 4


def plan(scheme: Scheme = Scheme.ROAR, target: str = "tok_visual", **changes: object) -> TargetPlan:
    return TargetPlan(target, scheme, **({"tokens": 16, "steps": 4} | changes))


def chain(plans: Sequence[TargetPlan], conditions: Sequence[str]) -> list[Step]:
    """The steps of several targets in order, whose guidance applies to the same conditions."""
    return [step for plan in plans for step in steps_of(plan, conditions)]


def rows(state: dict[str, ModalityState], *rows: int) -> dict[str, ModalityState]:
    place = torch.tensor(rows)
    return {
        key: ModalityState(entry.values[place], entry.input_mask[place], entry.target_mask[place])
        for key, entry in state.items()
    }


def speaking(network: FourM, *order: int, key: str = "palette") -> FourM:
    """Make the network's sequence `key` always go on with the next id of `order`, whatever it is given."""
    with torch.no_grad():
        embed = network.decoder_embeddings[key]
        for block in network.decoder:
            for out in (block.self_attn.proj, block.cross_attn.proj, block.mlp.fc2):
                for parameter in out.parameters():
                    parameter.zero_()
        embed.pos_emb.zero_()
        embed.mod_emb.zero_()
        embed.token_emb.weight.zero_()
        embed.to_logits.weight.zero_()
        for place, (token, following) in enumerate(pairwise(order)):
            embed.token_emb.weight[token, place] = 1.0
            embed.to_logits.weight[following, place] = 1.0
    return network
