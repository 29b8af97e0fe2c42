"""Gradients of a step: their mean over processes, their norm, and clipping.

They are averaged once a step, after its last part, and not while they are made: which parameters a process has used
then makes no difference, and neither has a frozen one to be known.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.training.pretraining.processes import Processes
from model.training.pretraining.sharding import is_split, own_part

_MESSAGE = 2**23  # numbers that are summed at a time: 32 MiB
_EPSILON = 1e-6  # as in `torch.nn.utils.clip_grad_norm_`


def zero_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Set all gradients to 0; they keep their memory, so that no step lacks one."""
    torch._foreach_zero_([own_part(p.grad) for p in parameters if p.grad is not None])


def average_gradients(parameters: Sequence[nn.Parameter], processes: Processes) -> None:
    """Give all processes the mean of their gradients; those that are split have theirs already."""
    if processes.count == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None and not is_split(p)]
    for group in _messages(gradients):
        message = torch.cat([gradient.flatten() for gradient in group])
        dist.all_reduce(message)
        message /= processes.count
        parts = torch.split(message, [gradient.numel() for gradient in group])
        torch._foreach_copy_(group, [part.view_as(own) for part, own in zip(parts, group, strict=True)])


def _messages(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type that fit into a message; a larger one alone."""
    group: list[Tensor] = []
    numbers = 0
    for gradient in gradients:
        if group and (gradient.dtype != group[0].dtype or numbers + gradient.numel() > _MESSAGE):
            yield group
            group, numbers = [], 0
        group.append(gradient)
        numbers += gradient.numel()
    if group:
        yield group


@torch.no_grad()
def total_norm(parameters: Sequence[nn.Parameter], clip: float | None) -> Tensor:
    """The norm of all gradients together, which are scaled down to a norm of `clip` where it is larger."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    split = [own_part(gradient) for gradient in gradients if is_split(gradient)]
    whole = [gradient for gradient in gradients if not is_split(gradient)]
    if not split:
        return nn.utils.clip_grad_norm_(parameters, float("inf") if clip is None else clip)
    square = torch.stack(torch._foreach_norm(split)).square().sum()
    dist.all_reduce(square)
    square = square + sum(gradient.square().sum() for gradient in whole)
    norm: Tensor = square.sqrt()
    if clip is not None:
        torch._foreach_mul_([*split, *whole], (clip / (norm + _EPSILON)).clamp(max=1.0))
    return norm
