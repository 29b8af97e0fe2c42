"""How a value becomes what a published network takes, and how predicted tokens become a value: one class a kind.

A codec is told the network's row of its checkpoint key, so one codec serves 224 and 448 pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import ConfigInvalid, ModalityConfig
from model.embedder import FloatArray, Value
from model.formats.spans import FormatInvalid
from model.formats.table import FORMATS
from model.formats.text_states import TextStates
from model.published.images import ToImage, ToValue
from model.published.model import PublishedModel
from model.tokenizers.divae import DiVAE
from model.tokenizers.image_vqvae import ImageVQVAE
from model.tokenizers.samplers import Progress, Scheduler, seeded_noise
from model.tokenizers.vqvae import VQVAE

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Diffusing:
    """How images are decoded by a diffusion: `steps` from 1 to 1000, and the scheduler unless the tokenizer's own."""

    steps: int = 25
    scheduler: Scheduler | None = None
    seed: int = 0
    progress: Progress | None = None


class Codec(Protocol):
    """From a value to an input."""

    def encode(self, model: PublishedModel, row: ModalityConfig, value: Value) -> Tensor:
        """One sample's input: pixels float (C, H, W), ids int64 (n,) or vectors float (n, width).

        Raises `FormatInvalid` for a value that does not fit, and what loading a tokenizer raises.
        """
        ...


@dataclass(frozen=True)
class Decoded:
    """The value that tokens stand for; `arrays` are what codes inside of it stand for, by name."""

    value: Value
    arrays: Arrays = field(default_factory=dict)


@runtime_checkable
class TokenCodec(Codec, Protocol):
    """And from predicted tokens back to a value."""

    def decode(self, model: PublishedModel, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        """What one sample's tokens int64 (n,) stand for."""
        ...


@dataclass(frozen=True)
class Pixels:
    """A picture itself; `to_image` makes float32 (C, size, size)."""

    to_image: ToImage

    def encode(self, model: PublishedModel, row: ModalityConfig, value: Value) -> Tensor:
        """See `Codec.encode`."""
        return torch.from_numpy(self.to_image(value, _rows(row) * (row.patch or 1)))


@dataclass(frozen=True)
class ImageTokens:
    """An image through the tokenizer of that name, back by its diffusion or its ViT."""

    tokenizer: str
    to_image: ToImage
    to_value: ToValue

    def encode(self, model: PublishedModel, row: ModalityConfig, value: Value) -> Tensor:
        """See `Codec.encode`."""
        tokenizer = _image_tokenizer(model, self.tokenizer)
        image = torch.from_numpy(self.to_image(value, _rows(row) * tokenizer.patch))
        return tokenizer.encode(_on(tokenizer, image)).flatten()

    def decode(self, model: PublishedModel, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        """See `TokenCodec.decode`."""
        image = _decoded(_image_tokenizer(model, self.tokenizer), row, tokens, diffusing)
        return Decoded(self.to_value(image))


@dataclass(frozen=True)
class FeatureTokens:
    """A map float32 (C, h, w) of another network's features through the tokenizer of that name."""

    tokenizer: str

    def encode(self, model: PublishedModel, row: ModalityConfig, value: Value) -> Tensor:
        """See `Codec.encode`."""
        tokenizer = _image_tokenizer(model, self.tokenizer)
        features, wanted = cast(FloatArray, value), (tokenizer.config.n_channels, *(row.grid or ()))
        if features.shape != wanted:
            raise FormatInvalid(f"features for {_plain(row)} have the shape {wanted}, not {features.shape}")
        return tokenizer.encode(_on(tokenizer, torch.from_numpy(features))).flatten()

    def decode(self, model: PublishedModel, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        """See `TokenCodec.decode`."""
        features = _decoded(_image_tokenizer(model, self.tokenizer), row, tokens, diffusing)
        return Decoded(np.asarray(features.float().cpu()))


@dataclass(frozen=True)
class VectorTokens:
    """A vector float32 (d,) through the MLP tokenizer of that name; decoded ones have length 1."""

    tokenizer: str

    def encode(self, model: PublishedModel, row: ModalityConfig, value: Value) -> Tensor:
        """See `Codec.encode`."""
        tokenizer = vector_tokenizer(model, self.tokenizer)
        vector, wanted = cast(FloatArray, value), (tokenizer.config.n_channels,)
        if vector.shape != wanted:
            raise FormatInvalid(f"a vector for {_plain(row)} has the shape {wanted}, not {vector.shape}")
        return tokenizer.encode(_on(tokenizer, torch.from_numpy(vector)))[0]

    def decode(self, model: PublishedModel, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        """See `TokenCodec.decode`."""
        tokenizer = vector_tokenizer(model, self.tokenizer)
        vectors = tokenizer.decode_tokens(_on(tokenizer, tokens))
        return Decoded(np.asarray(F.normalize(vectors.float(), dim=1)[0].cpu()))


@dataclass(frozen=True)
class Text:
    """A sequence in the format of that name.

    `ending` follows a given one: `[EOS]` says that nothing is missing, `[S_1]` that something may be. `arrays_of`
    decodes codes inside of values.
    """

    format: str
    ending: str = "[EOS]"
    arrays_of: Callable[[PublishedModel, Any], Arrays] | None = None

    def encode(self, model: PublishedModel, row: ModalityConfig, value: Value) -> Tensor:
        """See `Codec.encode`. What is longer than the network was trained on is cut, as it was then."""
        ids = model.text.encode(f"{FORMATS[self.format].to_text(value)} {self.ending}")
        return torch.tensor(ids[: row.max_length])

    def decode(self, model: PublishedModel, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        """See `TokenCodec.decode`. What is not of the format is left out."""
        found = FORMATS[self.format].from_text(model.text.decode(tokens.tolist()))
        value = tuple(found) if isinstance(found, list) else found
        return Decoded(value, self.arrays_of(model, value) if self.arrays_of else {})


@dataclass(frozen=True)
class States:
    """Another network's vectors of a text; input only."""

    def encode(self, model: PublishedModel, row: ModalityConfig, value: Value) -> Tensor:
        """See `Codec.encode`."""
        vectors = cast(TextStates, value).vectors
        if vectors.shape[1] != row.width:
            raise FormatInvalid(f"states for {_plain(row)} have {row.width} numbers each, not {vectors.shape[1]}")
        return torch.from_numpy(vectors[: row.max_length].astype(np.float32))


def vector_tokenizer(model: PublishedModel, name: str) -> VQVAE:
    """The MLP tokenizer `name`. Raises `ConfigInvalid` where that is one of images."""
    tokenizer = model.tokenizer(name)
    if not isinstance(tokenizer, VQVAE):
        raise ConfigInvalid(f"{name} is a tokenizer of images, not of vectors")
    return tokenizer


def _image_tokenizer(model: PublishedModel, name: str) -> ImageVQVAE | DiVAE:
    tokenizer = model.tokenizer(name)
    if isinstance(tokenizer, VQVAE):
        raise ConfigInvalid(f"{name} is a tokenizer of vectors, not of images")
    return tokenizer


def _rows(row: ModalityConfig) -> int:
    """Tokens a side of a square grid."""
    rows, columns = row.grid or (0, 0)
    if rows != columns or not rows:
        raise ConfigInvalid(f"{row.key} has a grid of {rows} x {columns} tokens; images are square")
    return rows


def _on(tokenizer: torch.nn.Module, one: Tensor) -> Tensor:
    """A batch of one on the tokenizer's device; float32 becomes its dtype."""
    weight = next(tokenizer.parameters())
    batch = one[None].to(weight.device)
    return batch.to(weight.dtype) if batch.is_floating_point() else batch


def _decoded(tokenizer: ImageVQVAE | DiVAE, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Tensor:
    """Tokens int64 (n,) -> image or map float (C, H, W)."""
    grid = _on(tokenizer, tokens).view(1, *(row.grid or ()))
    if isinstance(tokenizer, ImageVQVAE):
        return tokenizer.decode_tokens(grid)[0]
    own = tokenizer.default_sampling
    sampling = replace(own, steps=diffusing.steps, scheduler=diffusing.scheduler or own.scheduler)
    return tokenizer.decode_tokens(grid, seeded_noise(diffusing.seed), sampling, progress=diffusing.progress)[0]


def _plain(row: ModalityConfig) -> str:
    """A checkpoint key without what users never type: `dinov2_global` for `tok_dinov2_global`."""
    return row.key.removeprefix("tok_").partition("@")[0]
