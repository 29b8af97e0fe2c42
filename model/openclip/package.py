"""Import the optional package open_clip so that it works with a CPU build of torch.

PyPI's torchvision is built for torch with CUDA. With a CPU torch its library does not load, and importing it fails with
`operator torchvision::nms does not exist`, because it describes two operators that only the library defines. open_clip
needs neither of them, so defining their names is enough.
"""

import functools
import importlib.util
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
from types import ModuleType

import torch
from torch import library

from anyseek.model.errors import PackageMissing
from anyseek.model.openclip.files import is_installed

_DESCRIBED = ("nms", "qnms")  # what torchvision/_meta_registrations.py names unconditionally
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_open_clip() -> ModuleType:
    """The module `open_clip`. Raises `PackageMissing`."""
    if not is_installed():
        raise PackageMissing("models called openclip:… need the extra openclip; run `pip install 'anyseek[openclip]'`")
    define_missing_operators()
    import open_clip

    module: ModuleType = open_clip
    return module


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
