"""Save memory by splitting networks over processes and by recomputing activations.

FSDP (`torch.distributed.fsdp.fully_shard`) splits parameters, gradients and moments.

Every process keeps an equal share of each tensor along its first axis. Blocks are assembled one at a time while they
run, everything else for the whole of a part. Checkpoints hold assembled tensors, so a run can resume with or without
splitting.

Split tensors are torch's `DTensor`. Its module takes a second to import, so it is imported only where one is made.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anyseek.model.network.transformer import FourM
from anyseek.model.training.run.processes import Processes


class Sharded(nn.Module):
    """A network with split parameters. Call it only through this wrapper, which assembles its parameters on the way in.

    All processes must call it and run every block equally often, whatever their batches contain.
    """

    def __init__(self, network: FourM) -> None:
        super().__init__()
        self.network = network
        inside = {id(p) for block in (*network.encoder, *network.decoder) for p in block.parameters()}
        self._outside = [name for name, p in network.named_parameters() if id(p) not in inside and p.requires_grad]

    def forward(self, run: Callable[[FourM], tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
        """Call `run` on the whole network: returns a loss, and its components."""
        loss, parts = run(self.network)
        # Gradients are summed in one message: each process must have one of every parameter, used or not.
        unused = torch.stack([self.network.get_parameter(name).sum() for name in self._outside]).sum()
        return loss + 0.0 * unused, parts


def shard(network: FourM, processes: Processes, device: torch.device) -> Sharded:
    """Split a network's parameters, each block on its own; they move to the device on the way."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (processes.count,))
    for block in (*network.encoder, *network.decoder):
        fully_shard(block, mesh=mesh)
    sharded = Sharded(network)
    fully_shard(sharded, mesh=mesh)
    return sharded


def is_split(tensor: Tensor) -> bool:
    """Whether this process has only a part of a tensor."""
    return hasattr(tensor, "device_mesh")


def own_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds, in the same memory: all of it unless it is split."""
    return cast(Any, tensor).to_local() if is_split(tensor) else tensor


def put_together(tensor: Tensor) -> Tensor:
    """The whole of a tensor, on every process, all of which must call it; one that is not split as it is."""
    return cast(Any, tensor).full_tensor() if is_split(tensor) else tensor


@torch.no_grad()
def fill(tensor: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor into one that may be split; all processes must call it where it is."""
    if is_split(tensor):
        from torch.distributed.tensor import distribute_tensor

        split = cast(Any, tensor)
        whole = distribute_tensor(whole.to(split.device), split.device_mesh, split.placements)
    own_part(tensor).copy_(own_part(whole))


@torch.no_grad()
def whole_network(network: Any, processes: Processes) -> Any:
    """Assemble a network in the first process; returns None in the others, which must call this as well.

    A network that is not split is returned unchanged.
    """
    if not any(is_split(parameter) for parameter in network.parameters()):
        return network if processes.is_first else None
    tensors = {}
    for name, tensor in network.state_dict().items():
        found = put_together(tensor)
        if processes.is_first:
            tensors[name] = found
    if not processes.is_first:
        return None
    with torch.device("meta"):
        whole = FourM(network.config)
    whole.load_state_dict(tensors, assign=True)
    whole.tie_parameters()
    return whole


def recompute_blocks(network: FourM) -> None:
    """Make every block of a network keep only its inputs. Names of parameters and results stay the same.

    A training step takes a third longer (each block runs forward twice), and memory holds the activations of one block
    instead of all.
    """
    for block in (*network.encoder, *network.decoder):
        # No layer draws random numbers, so their state need not be kept.
        again = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
        block.forward = again


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
