"""The published 4M checkpoints, and which of them depend on which. Does not import torch.

Networks predict tokens; tokenizers make tokens and turn them back. A checkpoint's name is that of its repository on the
Hugging Face Hub, without the owner.
"""

from dataclasses import dataclass
from enum import StrEnum

from anyseek.model.errors import UnknownModel

OWNER = "EPFL-VILAB"
LICENCE = "non-commercial"
VOCABULARY = "text_tokenizer_4m_wordpiece_30k"
# The vocabulary has no repository of its own; it is part of the reference's code (Apache-2.0).
VOCABULARY_URL = f"https://github.com/apple/ml-4m/raw/cda590f/fourm/utils/tokenizer/trained/{VOCABULARY}.json"
VOCABULARY_SHA256 = "8e684e9a0673e39f70702a698869f909ba697f871a0c6b2a07b5f61e91b3526e"


class Role(StrEnum):
    """What a published checkpoint is."""

    NETWORK = "network"
    SUPER_RESOLUTION = "super-resolution"  # a network from tokens at 224 pixels to tokens at 448
    TOKENIZER = "tokenizer"


@dataclass(frozen=True)
class Published:
    """One published checkpoint.

    `repository` is its place on the Hub; `needs` names the tokenizers of the modalities of a network, nothing for a
    tokenizer.
    """

    name: str
    repository: str
    role: Role
    needs: tuple[str, ...] = ()


RGB = "4M_tokenizers_rgb_16k_224-448"
DEPTH = "4M_tokenizers_depth_8k_224-448"
NORMAL = "4M_tokenizers_normal_8k_224-448"
EDGE = "4M_tokenizers_edge_8k_224-512"  # of Canny and of SAM edges
SEMSEG = "4M_tokenizers_semseg_4k_224-448"
CLIP = "4M_tokenizers_CLIP-B16_8k_224-448"
DINOV2 = "4M_tokenizers_DINOv2-B14_8k_224-448"
IMAGEBIND = "4M_tokenizers_ImageBind-H14_8k_224-448"
DINOV2_GLOBAL = "4M_tokenizers_DINOv2-B14-global_8k_16_224"
IMAGEBIND_GLOBAL = "4M_tokenizers_ImageBind-H14-global_8k_16_224"
HUMAN_POSES = "4M_tokenizers_human-poses_1k_8"
SAM_INSTANCE = "4M_tokenizers_sam-instance_1k_64"
SUPER_RESOLUTION = "4M-7-SR_L_CC12M"

_OF_4M_7 = (RGB, DEPTH, NORMAL, SEMSEG, CLIP)
_OF_4M_21 = (*_OF_4M_7, EDGE, DINOV2, IMAGEBIND, DINOV2_GLOBAL, IMAGEBIND_GLOBAL, HUMAN_POSES, SAM_INSTANCE)
_SIZES = ("B", "L", "XL")


def _rows() -> list[Published]:
    networks: list[tuple[str, tuple[str, ...]]] = [(f"4M-21_{size}", _OF_4M_21) for size in _SIZES]
    networks += [(f"4M-7_{size}_{data}", _OF_4M_7) for data in ("CC12M", "COYO700M") for size in _SIZES]
    networks += [(f"4M-7-T2I_{size}_CC12M", _OF_4M_7) for size in _SIZES]
    return [
        *(_row(name, Role.NETWORK, needs) for name, needs in networks),
        _row(SUPER_RESOLUTION, Role.SUPER_RESOLUTION, _OF_4M_7),
        *(_row(name, Role.TOKENIZER, ()) for name in _OF_4M_21),
    ]


def _row(name: str, role: Role, needs: tuple[str, ...]) -> Published:
    return Published(name, f"{OWNER}/{name}", role, needs)


PUBLISHED: dict[str, Published] = {row.name: row for row in _rows()}


def published(name: str) -> Published:
    """The published checkpoint `name`, with or without its owner. Raises `UnknownModel` naming what there is."""
    row = PUBLISHED.get(name.removeprefix(f"{OWNER}/"))
    if row is None:
        raise UnknownModel(f"{name!r} is not a published checkpoint; those are {', '.join(PUBLISHED)}")
    return row


def with_needs(name: str) -> list[str]:
    """A checkpoint or the vocabulary, with the tokenizers and the vocabulary that it needs. Raises `UnknownModel`."""
    if name == VOCABULARY:
        return [name]
    row = published(name)
    return [row.name, *row.needs, *([VOCABULARY] if row.needs else [])]
