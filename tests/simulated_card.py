"""A device that is not there, to run on it what cards run: tensors on it have real numbers and compute on the CPU.

torch knows no such device, so it goes by the name of `meta`, whose tensors have no numbers otherwise. As on a card,
`numpy()` and operations that mix it with the CPU fail, and asking for a number makes the program wait. These waits are
counted. What it cannot show is how fast a card is, and how it rounds.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

CARD = torch.device("meta")
_CPU = torch.device("cpu")

# These may take indices, or write values, from the CPU, which torch copies; the last one computes nothing.
_MAY_MIX = ("aten.index.", "aten.index_put", "aten.copy_.", "aten._has_compatible_shallow_copy_type.")
# How many numbers come out is known on the device alone.
_WAITING = ("aten._local_scalar_dense.", "aten.nonzero.", "aten.masked_select.", "aten.equal.")


class OnCard(Tensor):
    """A tensor on the simulated card; `held` is the tensor that computes."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnCard":
        """Reports the simulated device, and everything else as it is."""
        about = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made: OnCard = Tensor._make_wrapper_subclass(cls, held.shape, **about, device=CARD)  # type: ignore[attr-defined]
        made.held = held
        return made

    def tolist(self) -> Any:
        """Its numbers, which the program waits for."""
        return self.cpu().tolist()

    def new_tensor(self, data: Any, **about: Any) -> Tensor:
        """Made on the CPU first, as `torch.tensor` is."""
        return torch.tensor(data, dtype=about.get("dtype", self.dtype), device=CARD)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Reached where no simulation is running: the tensor has outlived it."""
        raise RuntimeError(f"{func} of a tensor on a simulated card that has ended")


class SimulatedCard(TorchDispatchMode):
    """Computes on the simulated card; `waits` are the operations that a program waited for, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """One operation, with the error that a card would have raised, or the wait."""
        named, name = dict(kwargs or {}), str(func)
        tensors = [leaf for leaf in tree_flatten((args, named))[0] if isinstance(leaf, Tensor)]
        here, goal = any(isinstance(tensor, OnCard) for tensor in tensors), _goal(args, named)
        args = [_CPU if isinstance(argument, torch.device) else argument for argument in args]
        if named.get("device") is not None:
            named["device"] = _CPU
        leaves = here and goal is not None and goal.type == _CPU.type
        if here and not name.startswith(_MAY_MIX):
            _check_mixed(name, tensors)
        if leaves or (here and name.startswith(_WAITING)) or _copies_back(name, tensors):
            self.waits.append(name)
        stays = here and not leaves and not _copies_back(name, tensors)
        with torch.inference_mode(False), torch.no_grad():  # views of weights are no tensors of inference
            computed = func(*tree_map_only(OnCard, _held, args), **tree_map_only(OnCard, _held, named))
            return tree_map_only(Tensor, _wrapped, computed) if stays or goal == CARD else computed


class _Random(torch.Generator):
    """Random numbers of the card, which are drawn on the CPU."""

    def __new__(cls, device: torch.device | str = _CPU) -> torch.Generator:  # type: ignore[misc]
        """One for any other device is torch's own."""
        return super().__new__(cls, _CPU) if torch.device(device) == CARD else _GENERATOR(device)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where its numbers are."""
        return CARD


_GENERATOR, _TENSOR = torch.Generator, torch.tensor


def _tensor(data: Any, *, device: torch.device | str | None = None, **about: Any) -> Tensor:
    """As `torch.tensor`, which below all modes would make a tensor on the device itself, without numbers."""
    made = _TENSOR(data, **about)
    return made if device is None else made.to(device)


@contextmanager
def simulated_card() -> Iterator[SimulatedCard]:
    """A block with the simulated card; networks are moved with their parameters replaced, as their class changes."""
    replaced = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch.Generator, torch.tensor = _Random, _tensor  # type: ignore[misc,assignment]
    try:
        with SimulatedCard() as card:
            yield card
    finally:
        torch.Generator, torch.tensor = _GENERATOR, _TENSOR  # type: ignore[misc]
        torch.__future__.set_swap_module_params_on_conversion(replaced)


def _goal(args: Sequence[Any], named: Mapping[str, Any]) -> torch.device | None:
    """The device that an operation is asked to put its result on."""
    devices = [argument for argument in (*args, named.get("device")) if isinstance(argument, torch.device)]
    return devices[0] if devices else None


def _check_mixed(name: str, tensors: Sequence[Tensor]) -> None:
    """Single numbers may be on the CPU."""
    if any(tensor.ndim and not isinstance(tensor, OnCard) for tensor in tensors):
        raise RuntimeError(f"{name} mixes the CPU and the card: {[tuple(tensor.shape) for tensor in tensors]}")


def _copies_back(name: str, tensors: Sequence[Tensor]) -> bool:
    """Whether an operation writes numbers of the card to the CPU."""
    return name.startswith("aten.copy_.") and isinstance(tensors[1], OnCard) and not isinstance(tensors[0], OnCard)


def _held(tensor: OnCard) -> Tensor:
    return tensor.held


def _wrapped(tensor: Tensor) -> Tensor:
    return tensor if isinstance(tensor, OnCard) else OnCard(tensor)
