"""Names of the devices that networks compute on, and names of models that carry one. Imports no torch.

`ANYSEEK_DEVICE` sets the device of a process, and a name such as `4m-tiny:device=cuda` that of one model. Collections
remember their models without it, because any machine may search what another one embedded.
"""

import re

from anyseek.model.errors import BadDevice

CPU, CARD, AUTO = "cpu", "cuda", "auto"
OFFERED = f"{CPU}, {CARD}, {CARD}:N for card N counted from 0, or {AUTO} for a card if there is one"
# Devices and kernels add in different orders, so bits differ. Vectors of at least this cosine share a fingerprint:
# a ranking by them differs only where scores differ by less than 0.0002.
MIN_COSINE = 0.9999
WITHOUT_NETWORK = "hashing"  # the model that computes on no device and ignores the setting

_NAME = re.compile(rf"{CPU}|{AUTO}|{CARD}(:[0-9]{{1,3}})?", re.ASCII)
_OPTION = re.compile(r"([:,])device=([^,/]*)")


def is_device(name: str) -> bool:
    """Whether `name` is one of `OFFERED`, on this machine or not."""
    return _NAME.fullmatch(name) is not None


def has_device_option(model: str) -> bool:
    """Whether a model's name has the option `device`, with whatever value."""
    return _OPTION.search(model) is not None


def split_device(model: str) -> tuple[str, str | None]:
    """A model's name without its option `device`, and the device, None where it names none.

    Raises `BadDevice` for a device that is not offered, and for two of them.
    """
    options = list(_OPTION.finditer(model))
    if not options:
        return model, None
    if len(options) > 1:
        raise BadDevice(f"{model!r} has the option device twice; give it once")
    (option,) = options
    before, device = option.groups()
    if not is_device(device):
        raise BadDevice(f"the option device of {model!r} must be {OFFERED}, not {device!r}")
    others = model[option.end() :]  # that follow, after a comma
    return model[: option.start()] + (before + others[1:] if others else ""), device
