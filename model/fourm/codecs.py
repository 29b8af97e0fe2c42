"""Codecs turn values into network inputs, and predicted tokens back into values. There is one class per kind.

A codec receives the network's row for its checkpoint key, so one codec serves both 224 and 448 pixels. It uses the
model's tokenizers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.fourm.images import ToImage, ToValue
from anyseek.model.fourm.specialists import Specialist
from anyseek.model.modalities.formats.bins import SPECIAL_TOKEN
from anyseek.model.modalities.formats.boxes import boxes_from_text, boxes_to_text
from anyseek.model.modalities.formats.color_palette import palette_from_text, palette_to_text
from anyseek.model.modalities.formats.human_poses import poses_from_text, poses_to_text
from anyseek.model.modalities.formats.metadata import metadata_from_text, metadata_to_text
from anyseek.model.modalities.formats.sam_instances import instances_from_text, instances_to_text
from anyseek.model.modalities.formats.spans import FormatInvalid, TextStates
from anyseek.model.network.config import ConfigInvalid, ModalityConfig
from anyseek.model.seam import FloatArray, Value
from anyseek.model.tokenizers.build import Tokenizer
from anyseek.model.tokenizers.diffusion import Progress, Scheduler, seeded_noise
from anyseek.model.tokenizers.divae import DiVAE
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.tokenizers.vqvae import VQVAE


@dataclass(frozen=True)
class SequenceFormat:
    """`to_text` writes a value and raises `FormatInvalid` for one that has no text; `from_text` reads what a text
    holds of the format and leaves out the rest, since a network may predict anything.
    """

    to_text: Callable[[Any], str]
    from_text: Callable[[str], Any]


def caption_from_text(text: str) -> str:
    """The text without special tokens, one space between words."""
    return " ".join(SPECIAL_TOKEN.sub(" ", text).split())


FORMATS: Mapping[str, SequenceFormat] = {
    "caption": SequenceFormat(str, caption_from_text),  # sentinels in it keep their meaning
    "det": SequenceFormat(boxes_to_text, boxes_from_text),  # list of LabelledBox
    "metadata": SequenceFormat(metadata_to_text, metadata_from_text),  # Metadata
    "color_palette": SequenceFormat(palette_to_text, palette_from_text),  # uint8 (n, 3)
    "human_poses": SequenceFormat(poses_to_text, poses_from_text),  # list of HumanPose
    "sam_instance": SequenceFormat(instances_to_text, instances_from_text),  # list of QueryPoint
}


Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Diffusing:
    """Options of decoding images by diffusion: `steps` from 1 to 1000, and a scheduler if not the tokenizer's own."""

    steps: int = 25
    scheduler: Scheduler | None = None
    seed: int = 0
    progress: Progress | None = None


class Tokenizers(Protocol):
    """The vocabulary and the tokenizers of a model, loaded on first use."""

    @property
    def text(self) -> TextTokenizer:
        """The vocabulary of all sequences."""
        ...

    def tokenizer(self, name: str) -> Tokenizer:
        """The tokenizer `name` of vectors, images or maps."""
        ...


class Codec(Protocol):
    """Encodes a value as an input."""

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        """One sample's input: pixels float (C, H, W), ids int64 (n,) or vectors float (n, width).

        Raises `FormatInvalid` for a value that does not fit, and what loading a tokenizer raises.
        """
        ...


@dataclass(frozen=True)
class Decoded:
    """A decoded value; `arrays` holds what the codes inside it decode to, by name."""

    value: Value
    arrays: Arrays = field(default_factory=dict)


class TokenDecoder(Protocol):
    """Decodes predicted tokens to a value."""

    def decode(self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        """The value of one sample's tokens int64 (n,)."""
        ...


@runtime_checkable
class TokenCodec(Codec, TokenDecoder, Protocol):
    """Encodes a value as an input, and decodes predicted tokens to a value."""


@dataclass(frozen=True)
class Form:
    """A checkpoint key under which a modality enters a network, and how its values become entries there.

    `specialist` is the encoder that reads the value: for the value's own vector, which a residual maps to the spaces,
    and for its states, which are the input where there is no `codec`.
    """

    key: str
    codec: Codec | None
    specialist: Specialist | None = None


@dataclass(frozen=True)
class TargetForm:
    """A checkpoint key under which a network predicts a modality, and how its tokens become values.

    If `of_centre`, the target is an image of the inputs' central squares, which are cropped before encoding. Codecs of
    published tokenizers crop for themselves.
    """

    key: str
    codec: TokenDecoder
    of_centre: bool = False


@dataclass(frozen=True)
class Pixels:
    """A picture itself; `to_image` makes float32 (C, size, size)."""

    to_image: ToImage

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        return torch.from_numpy(self.to_image(value, _rows(row) * (row.patch or 1)))


@dataclass(frozen=True)
class ImageTokens:
    """An image through the tokenizer of that name, back by its diffusion or its ViT."""

    tokenizer: str
    to_image: ToImage
    to_value: ToValue

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        tokenizer = _image_tokenizer(tokenizers, self.tokenizer)
        image = torch.from_numpy(self.to_image(value, _rows(row) * tokenizer.patch))
        return tokenizer.encode(_on(tokenizer, image)).flatten()

    def decode(self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        image = _decoded(_image_tokenizer(tokenizers, self.tokenizer), row, tokens, diffusing)
        return Decoded(self.to_value(image))


@dataclass(frozen=True)
class FeatureTokens:
    """A map float32 (C, h, w) of another network's features through the tokenizer of that name."""

    tokenizer: str

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        tokenizer = _image_tokenizer(tokenizers, self.tokenizer)
        features, wanted = cast(FloatArray, value), (tokenizer.config.n_channels, *(row.grid or ()))
        if features.shape != wanted:
            raise FormatInvalid(f"features for {_plain(row)} have the shape {wanted}, not {features.shape}")
        return tokenizer.encode(_on(tokenizer, torch.from_numpy(features))).flatten()

    def decode(self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        features = _decoded(_image_tokenizer(tokenizers, self.tokenizer), row, tokens, diffusing)
        return Decoded(np.asarray(features.float().cpu()))


@dataclass(frozen=True)
class VectorTokens:
    """A vector float32 (d,) through the MLP tokenizer of that name; decoded ones have length 1."""

    tokenizer: str

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        tokenizer = vector_tokenizer(tokenizers, self.tokenizer)
        vector, wanted = cast(FloatArray, value), (tokenizer.config.n_channels,)
        if vector.shape != wanted:
            raise FormatInvalid(f"a vector for {_plain(row)} has the shape {wanted}, not {vector.shape}")
        return tokenizer.encode(_on(tokenizer, torch.from_numpy(vector)))[0]

    def decode(self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        tokenizer = vector_tokenizer(tokenizers, self.tokenizer)
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
    arrays_of: Callable[[Tokenizers, Any], Arrays] | None = None

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        """See `Codec.encode`. Sequences longer than in training are cut, as they were in training."""
        return torch.tensor(self.ids(tokenizers.text, value, row.longest))

    def ids(self, text: TextTokenizer, value: Value, longest: int) -> list[int]:
        """The first `longest` ids of a value."""
        return text.encode(f"{FORMATS[self.format].to_text(value)} {self.ending}")[:longest]

    def decode(self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusing: Diffusing) -> Decoded:
        """See `TokenDecoder.decode`. What is not of the format is left out."""
        found = FORMATS[self.format].from_text(tokenizers.text.decode(tokens.tolist()))
        value = tuple(found) if isinstance(found, list) else found
        return Decoded(value, self.arrays_of(tokenizers, value) if self.arrays_of else {})


@dataclass(frozen=True)
class States:
    """Another network's vectors of a text, given as such; input only."""

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        vectors = cast(TextStates, value).vectors
        if vectors.shape[1] != row.width:
            raise FormatInvalid(f"states for {_plain(row)} have {row.width} numbers each, not {vectors.shape[1]}")
        return torch.from_numpy(vectors[: row.max_length].astype(np.float32))


def vector_tokenizer(tokenizers: Tokenizers, name: str) -> VQVAE:
    """The MLP tokenizer `name`. Raises `ConfigInvalid` where that is one of images."""
    tokenizer = tokenizers.tokenizer(name)
    if not isinstance(tokenizer, VQVAE):
        raise ConfigInvalid(f"{name} is a tokenizer of images, not of vectors")
    return tokenizer


def _image_tokenizer(tokenizers: Tokenizers, name: str) -> ImageVQVAE | DiVAE:
    tokenizer = tokenizers.tokenizer(name)
    if isinstance(tokenizer, VQVAE):
        raise ConfigInvalid(f"{name} is a tokenizer of vectors, not of images")
    return tokenizer


def _rows(row: ModalityConfig) -> int:
    """Tokens a side of a square grid."""
    rows, columns = row.grid or (0, 0)
    if rows != columns or not rows:
        raise ConfigInvalid(f"{row.key} has a grid of {rows} x {columns} tokens; images are square")
    return rows


def _on(tokenizer: torch.nn.Module, entry: Tensor) -> Tensor:
    """A batch of one entry on the tokenizer's device; float32 becomes its dtype."""
    weight = next(tokenizer.parameters())
    batch = entry[None].to(weight.device)
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
