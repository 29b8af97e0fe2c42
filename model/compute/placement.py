"""The devices of networks, from their names. No card has run any of it yet (docs/speed.md)."""

import torch
from torch import Tensor

from anyseek.model.compute.devices import AUTO, CARD, CPU, OFFERED, is_device
from anyseek.model.errors import BadDevice

_BATCH, _BATCH_ON_CARD = 16, 64  # samples that a network sees together


def torch_device(name: str) -> torch.device:
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


def resolve_device(name: str) -> str:
    """The device that `auto` stands for on this machine, `cuda:0` or `cpu`; other names as they are."""
    return str(torch_device(name)) if name == AUTO else name


def device_of_process(name: str, number: int) -> str:
    """The device of process `number` (from 0): cards are assigned in turn.

    Names that say which device stay. Raises `BadDevice`.
    """
    cards = torch.cuda.device_count() if name in (CARD, AUTO) else 0
    return f"{CARD}:{number % cards}" if cards else name


def batch_size_on(device: torch.device) -> int:
    """The number of samples that a network on `device` takes in one batch."""
    return _BATCH if device.type == CPU else _BATCH_ON_CARD


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`, copied to a card asynchronously from pinned memory."""
    if device.type != CARD or tensor.device == device:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
