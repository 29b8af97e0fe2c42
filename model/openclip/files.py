"""Names of open_clip models, and the folders that hold their files. Imports neither torch nor open_clip.

A folder holds `open_clip_config.json`, one safetensors file, and the tokenizer's files where the model has its own
tokenizer. open_clip reads this layout as `local-dir:`, and its repositories on the Hugging Face Hub use it.
"""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.errors import UnknownModel


@dataclass(frozen=True)
class Alias:
    """An open_clip model under a short name.

    Its weights are the file `file` of `repository` on the Hub at the commit `revision`, with `sha256`.
    """

    name: str
    model: str
    repository: str
    file: str
    revision: str
    sha256: str
    licence: str


# The revision and checksum are those that the Hub states for the file.
PHOTOS = Alias(
    name="photos",
    model="openclip:ViT-B-32/laion2b_s34b_b79k",
    repository="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    file="open_clip_model.safetensors",
    revision="1a25a446712ba5ee05982a381eed697ef9b435cf",
    sha256="ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6",
    licence="MIT",
)
ALIASES = {PHOTOS.name: PHOTOS}


def full_name(name: str) -> str:
    """The name of the model that an alias stands for; any other name as it is."""
    return ALIASES[name].model if name in ALIASES else name


PREFIX = "openclip:"
LOCAL_PREFIX = f"{PREFIX}local-dir:"
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
RECORD_FILE = "pulled.json"  # where the files came from, and their checksums

_PUBLISHED = re.compile(r"openclip:([A-Za-z0-9_][\w.-]*)/([A-Za-z0-9_][\w.-]*)", re.ASCII)


def is_installed() -> bool:
    """Whether the package open_clip is installed; imports nothing."""
    return importlib.util.find_spec("open_clip") is not None


def folder_of(name: str, home: Path) -> Path:
    """The folder of `openclip:ARCH/PRETRAINED` or `openclip:local-dir:PATH`. Raises `UnknownModel`."""
    if name.startswith(LOCAL_PREFIX):
        folder = Path(name.removeprefix(LOCAL_PREFIX))
        if not folder.is_absolute():
            raise UnknownModel(f"{name!r} needs an absolute path: collections remember a model by its name")
        return folder
    return published_folder(home).joinpath(*published_parts(name))


def published_parts(name: str) -> tuple[str, str]:
    """The architecture and the tag of `openclip:ARCH/PRETRAINED`. Raises `UnknownModel`."""
    match = _PUBLISHED.fullmatch(name)
    if match is None:
        raise UnknownModel(f"{name!r} is not a model; write {PREFIX}ARCH/PRETRAINED or {LOCAL_PREFIX}/PATH")
    return match[1], match[2]


def pulled_models(home: Path) -> tuple[str, ...]:
    """The names of the published models whose files are below `home`."""
    configs = sorted(published_folder(home).glob(f"[!.]*/[!.]*/{CONFIG_FILE}"))
    return tuple(f"{PREFIX}{path.parent.parent.name}/{path.parent.name}" for path in configs)


def published_folder(home: Path) -> Path:
    """The folder below which pulled models lie."""
    return home / "models" / "openclip"
