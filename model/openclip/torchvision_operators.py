"""Let torchvision be imported beside a torch that its compiled library was not built for.

PyPI's torchvision is built for torch with CUDA. Beside a CPU torch its library does not load, and importing it ends in
`operator torchvision::nms does not exist`, because it describes two operators that only the library defines. open_clip
needs none of them, so their names alone are enough.
"""

import functools
import importlib.util
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder

import torch
from torch import library

_DESCRIBED = ("nms", "qnms")  # what torchvision/_meta_registrations.py names unconditionally
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@functools.cache
def define_missing_operators() -> None:
    """Define `torchvision::nms` and `torchvision::qnms`, without a body, if torchvision's library does not load."""
    if library_loads():
        return
    for operator in _DESCRIBED:
        library.define(f"torchvision::{operator}", _SIGNATURE)


def library_loads() -> bool:
    """Whether torchvision is absent, or its compiled library is there and loads beside this torch."""
    package = importlib.util.find_spec("torchvision")
    if package is None or not package.submodule_search_locations:
        return True
    finder = FileFinder(package.submodule_search_locations[0], (ExtensionFileLoader, EXTENSION_SUFFIXES))
    compiled = finder.find_spec("_C")
    if compiled is None or compiled.origin is None:
        return False
    try:
        torch.ops.load_library(compiled.origin)  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True
