"""Networks without numbers, which take no memory and are given those of a file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode


class _WithoutInitialisation(TorchFunctionMode):
    """Leaves out what layers do to new parameters; for shapes alone torch would import its compiler (two seconds)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == init.__name__:
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Networks built inside have shapes and no numbers."""
    with torch.device("meta"), _WithoutInitialisation():
        yield
