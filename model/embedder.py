"""The Embedder seam: samples in, unit vectors of named spaces out. Imports no torch.

Implementations: `model.hashing_embedder` (deterministic, no weights), `model.fourm_embedder` (the bundled 4M
networks), `model.published.embedder` (published ones), `model.openclip_embedder` (any open_clip model).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from model.errors import (
    CheckpointMismatch,
    ModelError,
    PackageMissing,
    UnknownModel,
    UnsupportedModality,
    WeightsCorrupt,
    WeightsMissing,
)
from model.formats.boxes import LabelledBox
from model.formats.human_poses import HumanPose
from model.formats.metadata import Metadata
from model.formats.sam_instances import QueryPoint
from model.formats.text_states import TextStates

__all__ = [
    "CheckpointMismatch",
    "CodeEmbedder",
    "CodedSpaces",
    "Decoding",
    "Embedder",
    "EmbeddingSpace",
    "FloatArray",
    "Fusion",
    "ModelError",
    "PackageMissing",
    "Regions",
    "Sample",
    "UnknownModel",
    "UnsupportedModality",
    "Value",
    "WeightsCorrupt",
    "WeightsMissing",
    "known_models",
    "load_embedder",
]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Regions:
    """A segmentation map: `ids` integer (H, W), `classes` names of ids where they are known."""

    ids: npt.NDArray[np.integer]
    classes: Mapping[int, str] = field(default_factory=dict)


# What one modality of a sample holds; `model.modality.Content` says which for each.
Value = (
    str
    | npt.NDArray[np.generic]
    | Regions
    | tuple[LabelledBox, ...]
    | Metadata
    | tuple[HumanPose, ...]
    | tuple[QueryPoint, ...]
    | TextStates
)


@dataclass(frozen=True)
class Sample:
    """Aligned modalities of one thing, decoded: canonical modality name -> value."""

    values: Mapping[str, Value]


@dataclass(frozen=True)
class EmbeddingSpace:
    """A space that vectors of one dimension and one origin share. The score in it is the cosine, higher is better.

    `gallery_prior` float32 (dimension,) is the mean a gallery has until it is large enough to have its own;
    `query_means` float32 (k, dimension) are the means of query vectors by modality, one for each kind of thing that the
    model was measured on. Both are constants of the space, zero where centring does not help.
    """

    name: str
    dimension: int
    fingerprint: str
    gallery_prior: FloatArray
    query_means: Mapping[str, FloatArray] = field(default_factory=dict)


class Fusion(StrEnum):
    """How the parts of a query become one vector."""

    JOINT = "joint"  # all parts in one encoder pass
    LATE = "late"  # a vector a part, added by weight


class Decoding(StrEnum):
    """How the predicted probabilities of codes become a vector."""

    SOFT = "soft"  # every code counts by its probability
    HARD = "hard"  # the most probable code alone


class Embedder(Protocol):
    """Samples in, unit vectors out; the same sample always gives the same vector, alone or in a batch."""

    @property
    def name(self) -> str:
        """What `--model` calls it, such as `4m-tiny` or `hashing`."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, preprocessing version and space constants."""
        ...

    @property
    def spaces(self) -> Mapping[str, EmbeddingSpace]: ...

    @property
    def modalities(self) -> frozenset[str]:
        """Canonical names of the modalities it takes."""
        ...

    @property
    def fusion(self) -> Fusion:
        """How queries of several parts do best, as measured by `anyseek eval`."""
        ...

    def default_space(self, modality: str) -> str:
        """The space in which queries of `modality` do best, as measured by `anyseek eval`."""
        ...

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """Predict the global embedding of each sample in every one of `spaces` in one model pass.

        A sample with several modalities is encoded jointly. Returns float32 arrays of shape (len(samples), d)
        with rows of length 1. These are *raw* vectors: centring happens in `search`.

        Raises `UnsupportedModality` if a sample has a modality outside `modalities`, `KeyError` for an unknown space;
        4M networks raise `FormatInvalid` for a value that is not what its modality holds.
        """
        ...

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """Vectors to store for items: exact ones where the space's own extractor applies, else those of `embed`."""
        ...


@runtime_checkable
class CodeEmbedder(Embedder, Protocol):
    """An embedder that predicts codes of a tokenizer; `decoding` is its own way to make vectors of them."""

    @property
    def decoding(self) -> Decoding: ...

    def embed_decoded(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[Decoding, dict[str, FloatArray]]:
        """What `embed` gives with each way of decoding, in one model pass. Raises as `embed`."""
        ...


@runtime_checkable
class CodedSpaces(Protocol):
    """What has the tokenizers of spaces whose exact vectors are known."""

    def through_codes(self, vectors: FloatArray, space: str) -> FloatArray:
        """Unit vectors (n, d) of the space's own extractor, encoded to codes and decoded: unit rows (n, d)."""
        ...


KNOWN_MODELS = ("4m-tiny", "hashing")


def known_models(home: Path) -> tuple[str, ...]:
    """Names that `load_embedder` takes without further files, and those of the models pulled below `home`."""
    from model.openclip.files import pulled_models
    from model.published.store import installed_networks

    return KNOWN_MODELS + installed_networks(home) + pulled_models(home)


def load_embedder(name: str, home: Path) -> Embedder:
    """The embedder called `name`, its weights found beside the package or below `home`, or in the folder `name`.

    Torch is imported here and only for models that need it. Raises `UnknownModel`, `PackageMissing`, `WeightsMissing`,
    `WeightsCorrupt`, `CheckpointMismatch`.
    """
    from model.published.embedder_options import is_published

    if name == "hashing":
        from model.hashing_embedder import HashingEmbedder

        return HashingEmbedder()
    if name == "4m-tiny":
        from model.fourm_embedder import load_fourm_embedder

        return load_fourm_embedder(name, home)
    if is_published(name):
        from model.published.embedder import load_published_embedder

        return load_published_embedder(name, home)
    if name.startswith("openclip:"):
        from model.openclip_embedder import load_openclip_embedder

        return load_openclip_embedder(name, home)
    if Path(name).is_absolute():
        from model.fourm_embedder import load_fourm_embedder

        return load_fourm_embedder(name, home, Path(name))
    known = ", ".join((*known_models(home), "openclip:ARCH/PRETRAINED", "openclip:local-dir:/PATH", "/FOLDER"))
    raise UnknownModel(f"no model is called {name!r}; known ones are {known}")
