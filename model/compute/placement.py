"""Where networks compute, and how their inputs get there.

On a card, kernels run beside the program as long as nobody asks for a result. So inputs are
copied from pinned memory, batches are as large as memory allows, and threads prepare the next batch meanwhile. On a CPU
tensors are where they belong already. No card has run any of this yet (docs/speed.md).
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from anyseek.model.compute.devices import AUTO, CARD, CPU, OFFERED, is_device
from anyseek.model.compute.processors import processors
from anyseek.model.errors import BadDevice

BATCH = 16  # samples that a network sees together on a CPU
_MOST_ON_CARD = 128  # from there on a card has enough to do
_SHARE = 4  # of a card's free memory, what a batch may take: a quarter
_KEPT_AT_ONCE = 16  # arrays of a token's width that a block has at once, its hidden layer among them

_T = TypeVar("_T")
_R = TypeVar("_R")


def chosen_device(name: str) -> torch.device:
    """The device of a name that `model.devices` offers; `auto` is the first card, or the CPU where there is none.

    Convolutions in float32 then compute in float32 on a card too, so that vectors are those of a CPU. Raises
    `BadDevice` for a name that is not offered and a card that is not there.
    """
    if not is_device(name):
        raise BadDevice(f"{name!r} is not a device; it must be {OFFERED}")
    cards = torch.cuda.device_count() if name != CPU else 0
    if name == CPU or (name == AUTO and not cards):
        return torch.device(CPU)
    number = int(name.partition(":")[2] or 0)
    if not cards:
        reason = "this build of torch has no CUDA" if torch.version.cuda is None else "torch finds no card"
        raise BadDevice(f"{name} cannot be used: {reason}; set ANYSEEK_DEVICE to cpu, or to auto for a card if any")
    if number >= cards:
        raise BadDevice(f"{name} cannot be used: the last of the {cards} cards here is {CARD}:{cards - 1}")
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(CARD, number)


def settled_device(name: str) -> str:
    """What `auto` means on this machine, `cuda:0` or `cpu`; other names stay."""
    return str(chosen_device(name)) if name == AUTO else name


def device_of_process(name: str, number: int) -> str:
    """The device of process `number` (from 0) of those that share a setting: each its card, in turn if there are fewer.

    Names that say which device stay. Raises `BadDevice`.
    """
    cards = torch.cuda.device_count() if name in (CARD, AUTO) else 0
    return f"{CARD}:{number % cards}" if cards else name


def batch_on(network: nn.Module, tokens: int, width: int) -> int:
    """How many samples of `tokens` tokens of `width` numbers `network` takes together: a power of two on a card."""
    weight = next(network.parameters())
    if weight.device.type != CARD:
        return BATCH
    free, _ = torch.cuda.mem_get_info(weight.device)
    return fitting_batch(free, tokens * width * weight.element_size() * _KEPT_AT_ONCE)


def fitting_batch(free: int, bytes_a_sample: int) -> int:
    """The largest power of two of samples, 16 to 128, that take at most a quarter of `free` bytes."""
    fits = free // _SHARE // max(1, bytes_a_sample)
    return min(_MOST_ON_CARD, max(BATCH, 1 << max(0, fits.bit_length() - 1)))


def room_for(shape: tuple[int, ...], where: torch.device, dtype: torch.dtype, goal: torch.device) -> Tensor:
    """Zeros on the device `where`, such as the CPU, from where they can be moved to the device `goal` at once."""
    pinned = goal.type == CARD and where.type == CPU
    return torch.zeros(shape, dtype=dtype, device=where, pin_memory=pinned)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`. The copy to a card may still be under way: write no more into a pinned `tensor`."""
    if device.type != CARD or tensor.device == device:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def prepared(make: Callable[[_T], _R], values: Iterable[_T], device: torch.device) -> list[_R]:
    """What `make` gives for each value, which must not use a network: in threads where a card would wait for it."""
    return [make(value) for value in values] if device.type == CPU else list(_preparing().map(make, values))


@cache
def _preparing() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(processors(), thread_name_prefix="prepare-inputs")
