"""From a model's name to its implementation, each imported when a name asks for it.

Nothing that an implementation imports may import this module, so that no circle of imports forms.
"""

from pathlib import Path

from anyseek.model.bridges.files import PREFIX as BRIDGE
from anyseek.model.bridges.files import bridges
from anyseek.model.compute.devices import CPU, WITHOUT_NETWORK, split_device
from anyseek.model.errors import UnknownModel
from anyseek.model.fourm.published.names import is_published
from anyseek.model.fourm.published.store import installed_networks
from anyseek.model.openclip.files import pulled_models
from anyseek.model.seam import Model

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
    device = own or device
    if name == WITHOUT_NETWORK:
        from anyseek.model.hashing import HashingEmbedder

        return HashingEmbedder()
    if name in BUNDLED or Path(name).is_absolute():
        from anyseek.model.fourm.bundled.loading import load_bundled

        return load_bundled(name, home, None if name in BUNDLED else Path(name), device)
    if is_published(name):
        from anyseek.model.fourm.published.loading import load_published

        return load_published(name, home, device)
    if name.startswith("openclip:"):
        from anyseek.model.openclip.embedder import load_openclip_embedder

        return load_openclip_embedder(name, home, device)
    if name.startswith(BRIDGE):
        from anyseek.model.bridges.embedder import load_bridge_embedder

        return load_bridge_embedder(name, home, device)
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
