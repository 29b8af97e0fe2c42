"""Tensors that a network has under several names, of which a file may hold one."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


def tied_names(network: nn.Module) -> dict[str, list[str]]:
    """For each name of a parameter that has several: all its names."""
    names: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name: group for group in names.values() if len(group) > 1 for name in group}


def distinct_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network, contiguous; of those that it shares the one whose name comes first."""
    tied = tied_names(network)
    tensors = network.state_dict().items()
    return {name: tensor.contiguous() for name, tensor in tensors if min(tied.get(name, [name])) == name}


def first_present(group: Sequence[str], name: str, found: Mapping[str, object]) -> str:
    """`name` if a file has it, else a tied name that it has, else `name`."""
    return next((candidate for candidate in (name, *group) if candidate in found), name)
