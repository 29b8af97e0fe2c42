"""Short names of open_clip models that are recommended, pinned to the exact published file. Without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Alias:
    """An open_clip model under a short name.

    Its weights are the file `file` of `repository` on the Hub at the commit `revision`, of `size` bytes with `sha256`.
    """

    name: str
    model: str
    repository: str
    file: str
    revision: str
    sha256: str
    size: int
    licence: str


# The revision and checksum are those that the Hub states for the file.
PHOTOS = Alias(
    name="photos",
    model="openclip:ViT-B-32/laion2b_s34b_b79k",
    repository="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    file="open_clip_model.safetensors",
    revision="1a25a446712ba5ee05982a381eed697ef9b435cf",
    sha256="ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6",
    size=605_143_316,
    licence="MIT",
)
ALIASES = {PHOTOS.name: PHOTOS}


def full_name(name: str) -> str:
    """The name of the model that an alias stands for; any other name as it is."""
    return ALIASES[name].model if name in ALIASES else name
