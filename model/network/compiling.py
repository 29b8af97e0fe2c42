"""The blocks of a network compiled by torch, so that a card runs fewer kernels, each of which does more.

By choice alone (`anyseek.model.switches`): the first passes wait for the compiler, which needs Triton, a C compiler and
Python's headers where it runs. Anyseek is installed and runs without them. No card has run compiled blocks yet
(docs/gpu.md).
"""

import os
import shutil
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anyseek.model.devices import CARD
from anyseek.model.errors import BadDevice
from anyseek.model.network.transformer import FourM
from anyseek.model.switches import switches

_COMPILERS = ("gcc", "clang")  # that Triton looks for where CC says none
_BACKEND = "inductor"


def compile_where_asked(network: FourM) -> None:
    """Have the blocks of a network on a card compiled, if that is switched on.

    Raises `BadDevice` where this machine lacks what torch compiles with.
    """
    if network.mask_token.device.type == CARD and switches().compile:
        check_compiler()
        compile_blocks(network)


def compile_blocks(network: FourM, backend: str | Callable[..., Any] = _BACKEND) -> None:
    """Have each block compiled when it is first called, and not anew for other numbers of rows and tokens.

    One row is a case of its own, and so are tokens with a mask. Names of parameters stay. `backend` is one of torch's,
    or a function as `torch.compile` takes it.
    """
    for block in (*network.encoder, *network.decoder):
        block.compile(backend=backend, dynamic=True)


def check_compiler() -> None:
    """Raises `BadDevice`, saying what is missing, where nothing can be compiled for a card."""
    named = os.environ.get("CC")
    lacking = {
        "Triton is not installed; install the package triton": find_spec("triton") is None,
        "there is no C compiler; install gcc, or have CC name one": not any(
            map(shutil.which, [named] if named else _COMPILERS)
        ),
        "Python's headers are not installed; install them": not Path(
            sysconfig.get_path("include"), "Python.h"
        ).exists(),
    }
    for what, lacks in lacking.items():
        if lacks:
            raise BadDevice(f"ANYSEEK_COMPILE cannot be used: {what}, or set ANYSEEK_COMPILE to false")
