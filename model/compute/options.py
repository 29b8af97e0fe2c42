"""How networks are computed, where whoever runs a process says it: `Settings.switches`, else the environment.

Models are also loaded from Python without settings, so what is loaded asks here. Imports no torch.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields

from anyseek.model.errors import ModelError

_PREFIX = "ANYSEEK_"
_TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True)
class Switches:
    """What may compute; `ANYSEEK_` and a name in capitals is its variable.

    `openvino`: the image encoder of bundled models on a CPU, where OpenVINO is installed.
    """

    openvino: bool = True


_said: ContextVar[Switches | None] = ContextVar("switches", default=None)


@contextmanager
def switching(said: Switches | None) -> Iterator[None]:
    """What is loaded in the block follows `said`, or the environment if that is None."""
    token = _said.set(said)
    try:
        yield
    finally:
        _said.reset(token)


def switches(environment: Mapping[str, str] = os.environ) -> Switches:
    """What the block around says, else the environment; the defaults if neither does.

    Raises `ModelError` for a variable that is neither true nor false, as settings refuse it too.
    """
    said = _said.get()
    if said is not None:
        return said
    given = {field.name: environment.get(_PREFIX + field.name.upper()) for field in fields(Switches)}
    return Switches(**{name: _truth(name, text) for name, text in given.items() if text})


def _truth(name: str, text: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise ModelError(f"{_PREFIX}{name.upper()} must be true or false, not {text!r}")
    return _TRUTHS[text.lower()]
