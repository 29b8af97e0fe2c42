"""Whether bundled models may use OpenVINO: `Settings.openvino` where there are settings, else the environment.

Models are also loaded from Python without settings, so the encoder itself asks here. Imports no torch.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from model.config_reader import TRUTHS
from model.errors import ModelError

SWITCH = "ANYSEEK_OPENVINO"

_said: ContextVar[bool | None] = ContextVar("openvino_allowed", default=None)


@contextmanager
def allowing_openvino(allowed: bool | None) -> Iterator[None]:
    """What is loaded in the block follows `allowed`, or the environment if that is None."""
    token = _said.set(allowed)
    try:
        yield
    finally:
        _said.reset(token)


def may_use_openvino(environment: Mapping[str, str] = os.environ) -> bool:
    """What the block around says, else the environment; True if neither does.

    Raises `ModelError` for a variable that is neither true nor false, as settings refuse it too.
    """
    said = _said.get()
    if said is not None:
        return said
    text = environment.get(SWITCH) or "true"
    if text.lower() not in TRUTHS:
        raise ModelError(f"{SWITCH} must be true or false, not {text!r}")
    return TRUTHS[text.lower()]
