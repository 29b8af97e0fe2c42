"""The one table from a model's name to its implementation, each imported when a name asks for it.

Nothing that an implementation imports may import this module, so that no circle of imports forms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.bridges.files import PREFIX as BRIDGE
from anyseek.model.bridges.files import bridges
from anyseek.model.compute.devices import CPU, WITHOUT_NETWORK, split_device
from anyseek.model.compute.processors import importing
from anyseek.model.errors import UnknownModel
from anyseek.model.fourm.published.names import is_published
from anyseek.model.fourm.published.store import installed_networks
from anyseek.model.openclip.files import pulled_models
from anyseek.model.seam import Model

_Load = Callable[[str, Path, str], Model]

BUNDLED = ("4m-tiny", "4m-tiny-open")
KNOWN_MODELS = (*BUNDLED, WITHOUT_NETWORK)


def known_models(home: Path) -> tuple[str, ...]:
    """The names that `load_model` takes without further files, and those of models pulled or adapted below `home`."""
    return KNOWN_MODELS + installed_networks(home) + pulled_models(home) + bridges(home)


def load_model(name: str, home: Path, device: str = CPU) -> Model:
    """Load the model called `name`, whose weights lie beside the package, below `home` or in the folder `name`.

    What it loads embeds and predicts with one network on `device`, one that `anyseek.model.compute.devices` offers; a
    `name` such as `4m-tiny:device=cuda` says another, which is no part of the model's own name. Only a model that needs
    torch imports it. Raises `BadDevice`, `UnknownModel`, `PackageMissing`, `WeightsMissing`, `WeightsCorrupt`,
    `CheckpointMismatch`.
    """
    name, own = split_device(name)
    for row in _TABLE:
        if row.takes(name):
            return row.load(name, home, own or device)
    known = ", ".join(
        (*known_models(home), "openclip:ARCH/PRETRAINED", "openclip:local-dir:/PATH", "bridge:NAME", "/FOLDER")
    )
    raise UnknownModel(f"{name!r} is not a model; the models are {known}")


def load_embedder(name: str, home: Path, device: str = CPU) -> Model:
    """Like `load_model`, for a model that must embed: it also loads what only vectors need.

    Raises `WeightsMissing` where a published network has no tokenizer of any space.
    """
    model = load_model(name, home, device)
    _ = model.spaces
    return model


def _hashing(name: str, home: Path, device: str) -> Model:
    from anyseek.model.hashing import HashingEmbedder

    return HashingEmbedder()


def _bundled(name: str, home: Path, device: str) -> Model:
    with importing("torch"):
        from anyseek.model.fourm.bundled.loading import load_bundled

    return load_bundled(name, home, device=device)


def _own_folder(name: str, home: Path, device: str) -> Model:
    with importing("torch"):
        from anyseek.model.fourm.bundled.loading import load_bundled

    return load_bundled(name, home, Path(name), device)


def _published(name: str, home: Path, device: str) -> Model:
    with importing("torch"):
        from anyseek.model.fourm.published.loading import load_published

    return load_published(name, home, device)


def _openclip(name: str, home: Path, device: str) -> Model:
    with importing("torch"):
        from anyseek.model.openclip.embedder import load_openclip_embedder

    return load_openclip_embedder(name, home, device)


def _bridge(name: str, home: Path, device: str) -> Model:
    with importing("torch"):
        from anyseek.model.bridges.embedder import load_bridge_embedder

    return load_bridge_embedder(name, home, device)


@dataclass(frozen=True)
class _Implementation:
    """Which names an implementation takes, and how it is loaded."""

    takes: Callable[[str], bool]
    load: _Load


_TABLE = (
    _Implementation(lambda name: name == WITHOUT_NETWORK, _hashing),
    _Implementation(lambda name: name in BUNDLED, _bundled),
    _Implementation(is_published, _published),
    _Implementation(lambda name: name.startswith("openclip:"), _openclip),
    _Implementation(lambda name: name.startswith(BRIDGE), _bridge),
    _Implementation(lambda name: Path(name).is_absolute(), _own_folder),
)
