"""One step for an image target: ROAR and MaskGIT differ only in which places they decode and which tokens they keep."""

import torch
from torch import Tensor

from model.generation.guidance import combine
from model.generation.run import GenerationInvalid, Run
from model.generation.schedule import Scheme, Step
from model.generation.state import ModalityState, State


def decode_image_tokens(run: Run, index: int, step: Step, state: State) -> ModalityState:
    """The target's state after `step.tokens` more of its tokens were decoded, in all rows alike.

    ROAR decodes that many places in random order, the same for all rows; MaskGIT decodes all open places and keeps the
    surest tokens of each row.
    """
    target = state[step.target]
    open_places, wanted = _open_places(step, target), step.tokens or 0
    kept = min(open_places, wanted)
    order = _order(run, step, target)
    logits: list[Tensor] = []
    for place in range(step.guidance.passes):
        seen = run.seen(place, step, state)
        positions = _first_open(seen[step.target], order, kept if step.scheme is Scheme.ROAR else open_places)
        context = run.views.context(place, seen, step.guidance)
        logits.append(run.network.decode_image_tokens_at(context, step.target, positions))
        run.observe(index, step, positions, logits[-1])
    tokens, probabilities = run.sample(step, combine(logits, step.guidance))
    if step.scheme is Scheme.MASKGIT:
        surest = _surest(run, step, probabilities, kept)
        positions, tokens = positions.gather(1, surest), tokens.gather(1, surest)
    return target.written(positions, tokens)


def _open_places(step: Step, target: ModalityState) -> int:
    counts = set((~target.target_mask).sum(dim=1).tolist())
    if len(counts) > 1:
        raise GenerationInvalid(
            f"the rows of {step.target} have {sorted(counts)} tokens to decode; in one batch all must have as many"
        )
    count = int(counts.pop())
    if count == 0:
        raise GenerationInvalid(f"{step.target} has no token left to decode; the schedule has too many steps for it")
    return count


def _order(run: Run, step: Step, target: ModalityState) -> Tensor:
    """Numbers float (n,) by which places are taken, smallest first."""
    tokens = target.target_mask.shape[1]
    if step.scheme is Scheme.ROAR:
        return torch.rand(tokens, generator=run.random, device=run.random.device)
    return torch.arange(tokens, dtype=torch.float32, device=target.target_mask.device)


def _first_open(target: ModalityState, order: Tensor, count: int) -> Tensor:
    """The first `count` open places of each row by `order`: int64 (B, count)."""
    ranked = order.expand(target.target_mask.shape).masked_fill(target.target_mask, torch.inf)
    return ranked.argsort(dim=1, stable=True)[:, :count]


def _surest(run: Run, step: Step, probabilities: Tensor, count: int) -> Tensor:
    """Which tokens of each row were drawn with the highest probability: (B, m) -> int64 (B, count)."""
    if run.options.reference_faults and step.temperature == 0:
        probabilities = torch.ones_like(probabilities)
    return probabilities.topk(count, dim=1).indices
