"""The published 4M checkpoints, and which of them depend on which. Does not import torch.

Networks predict tokens; tokenizers make tokens and turn them back. A checkpoint's name is that of its repository on the
Hugging Face Hub, without the owner.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from anyseek.model.errors import UnknownModel
from anyseek.model.seam import Decoding

OWNER = "EPFL-VILAB"
LICENCE = "non-commercial"
VOCABULARY = "text_tokenizer_4m_wordpiece_30k"
# The vocabulary has no repository of its own; it is part of the reference's code (Apache-2.0).
VOCABULARY_URL = f"https://github.com/apple/ml-4m/raw/cda590f/fourm/utils/tokenizer/trained/{VOCABULARY}.json"
VOCABULARY_SHA256 = "8e684e9a0673e39f70702a698869f909ba697f871a0c6b2a07b5f61e91b3526e"


class Role(StrEnum):
    """The kind of a published checkpoint."""

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


PUBLISHED: dict[str, Published] = {
    name: Published(name, f"{OWNER}/{name}", role, needs)
    for role, needs, names in (
        (Role.NETWORK, _OF_4M_21, [f"4M-21_{size}" for size in _SIZES]),
        (Role.NETWORK, _OF_4M_7, [f"4M-7_{size}_{data}" for data in ("CC12M", "COYO700M") for size in _SIZES]),
        (Role.NETWORK, _OF_4M_7, [f"4M-7-T2I_{size}_CC12M" for size in _SIZES]),
        (Role.SUPER_RESOLUTION, _OF_4M_7, [SUPER_RESOLUTION]),
        (Role.TOKENIZER, (), _OF_4M_21),
    )
    for name in names
}


def published(name: str) -> Published:
    """The published checkpoint `name`, with or without its owner. Raises `UnknownModel` naming what there is."""
    row = PUBLISHED.get(name.removeprefix(f"{OWNER}/"))
    if row is None:
        raise UnknownModel(f"{name!r} is not a published checkpoint; those are {', '.join(PUBLISHED)}")
    return row


def with_dependencies(name: str) -> list[str]:
    """A checkpoint or the vocabulary, with the tokenizers and the vocabulary that it needs. Raises `UnknownModel`."""
    if name == VOCABULARY:
        return [name]
    row = published(name)
    return [row.name, *row.needs, *([VOCABULARY] if row.needs else [])]


class Precision(StrEnum):
    """The dtype that the network computes in; bfloat16 is faster on processors that support it."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class EmbedderOptions:
    """Options of embedding. `token_budget` is the most tokens to encode of each image-like modality, None for all."""

    decoding: Decoding = Decoding.SOFT
    token_budget: int | None = None
    dtype: Precision = Precision.FLOAT32

    def fingerprint_parts(self) -> tuple[str, ...]:
        """Every option in words, for a fingerprint."""
        return f"decoding {self.decoding}", f"token budget {self.token_budget}", f"dtype {self.dtype}"


def is_published(name: str) -> bool:
    """Return whether `name`, with or without options, is that of a published network that predicts from pictures."""
    row = PUBLISHED.get(_network(name))
    return row is not None and row.role is Role.NETWORK


def parse_name(name: str) -> tuple[str, EmbedderOptions]:
    """The network's name and its options. Raises `UnknownModel` for what is no option or no value of one."""
    values: dict[str, Any] = {}
    for option in filter(None, name.partition(":")[2].split(",")):
        key, _, value = option.partition("=")
        if key not in _READERS:
            raise UnknownModel(f"{name!r} has an unknown option {key!r}; the options are {', '.join(_READERS)}")
        if key in values:
            raise UnknownModel(f"{name!r} has the option {key!r} twice; give it once")
        reads, expected = _READERS[key]
        try:
            values[key] = reads(value)
        except ValueError:
            raise UnknownModel(f"the option {key} of {name!r} must be {expected}, not {value!r}") from None
    return _network(name), EmbedderOptions(**values)


def predicting_name(name: str) -> str:
    """The name under which a model predicts: without its owner and without options that change vectors alone.

    `EPFL-VILAB/4M-21_B:token_budget=98,dtype=bfloat16` predicts as `4M-21_B:dtype=bfloat16`, and `4M-21_B` as itself.
    Other names stay as they are. Raises `UnknownModel` as `parse_name` does.
    """
    if not is_published(name):
        return name
    network, options = parse_name(name)
    return f"{network}:dtype={options.dtype}" if options.dtype is Precision.BFLOAT16 else network


def may_answer(model: str, asked: str) -> bool:
    """Return whether `model`, as predictions name it, is one that `asked` means: a plain name means any dtype of its
    network.

    Raises `UnknownModel` as `parse_name` does.
    """
    wanted = predicting_name(asked)
    return model == wanted or (wanted in PUBLISHED and model.startswith(f"{wanted}:"))


def _network(name: str) -> str:
    return name.partition(":")[0].removeprefix(f"{OWNER}/")


def _token_budget(text: str) -> int:
    budget = int(text)
    if budget < 1:
        raise ValueError(text)
    return budget


_READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "decoding": (Decoding, "soft or hard"),
    "token_budget": (_token_budget, "a whole number, 1 or more"),
    "dtype": (Precision, "float32 or bfloat16"),
}
