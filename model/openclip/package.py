"""The optional package open_clip, imported so that it works beside a CPU torch."""

from types import ModuleType

from model.embedder import PackageMissing
from model.openclip.files import is_installed
from model.openclip.torchvision_operators import define_missing_operators


def import_open_clip() -> ModuleType:
    """The module `open_clip`. Raises `PackageMissing`."""
    if not is_installed():
        raise PackageMissing("models called openclip:… need the extra openclip; run `pip install 'anyseek[openclip]'`")
    define_missing_operators()
    import open_clip

    module: ModuleType = open_clip
    return module
