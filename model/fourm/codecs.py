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
    """`to_text` writes a value and raises `FormatInvalid` if it has no text; `from_text` parses leniently and
    skips what is not in the format, since a network may predict anything.
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
class DiffusionOptions:
    """Options of decoding images by diffusion: `steps` from 1 to 1000; `scheduler` defaults to the tokenizer's."""

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
class DecodedValue:
    """A decoded value; `arrays` holds, by name, arrays decoded from codes inside the value."""

    value: Value
    arrays: Arrays = field(default_factory=dict)


class TokenDecoder(Protocol):
    """Decodes predicted tokens to a value."""

    def decode(
        self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusion: DiffusionOptions
    ) -> DecodedValue:
        """The value of one sample's tokens int64 (n,)."""
        ...


@runtime_checkable
class TokenCodec(Codec, TokenDecoder, Protocol):
    """Encodes a value as an input, and decodes predicted tokens to a value."""


@dataclass(frozen=True)
class InputForm:
    """A checkpoint key under which a network takes a modality, and the codec of its values.

    `specialist` is the encoder of the value. It gives the value's own vector, which a residual maps to the spaces, and
    its states, which are the network's input if there is no `codec`.
    """

    key: str
    codec: Codec | None
    specialist: Specialist | None = None


@dataclass(frozen=True)
class TargetForm:
    """A checkpoint key under which a network predicts a modality, and the decoder of its tokens.

    With `crops_inputs`, inputs are cropped to their central squares before encoding, because the target is an image of
    these. Codecs of published tokenizers crop their values themselves.
    """

    key: str
    codec: TokenDecoder
    crops_inputs: bool = False


@dataclass(frozen=True)
class PixelCodec:
    """Codec of pixels, input only; `to_image` makes float32 (C, size, size)."""

    to_image: ToImage

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        return torch.from_numpy(self.to_image(value, _grid_side(row) * (row.patch or 1)))


@dataclass(frozen=True)
class ImageTokenCodec:
    """Codec of an image with the named tokenizer, which decodes by diffusion or by a ViT."""

    tokenizer: str
    to_image: ToImage
    to_value: ToValue

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        tokenizer = _image_tokenizer(tokenizers, self.tokenizer)
        image = torch.from_numpy(self.to_image(value, _grid_side(row) * tokenizer.patch))
        return tokenizer.encode(_to_batch(tokenizer, image)).flatten()

    def decode(
        self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusion: DiffusionOptions
    ) -> DecodedValue:
        image = _decode_image(_image_tokenizer(tokenizers, self.tokenizer), row, tokens, diffusion)
        return DecodedValue(self.to_value(image))


@dataclass(frozen=True)
class FeatureTokenCodec:
    """Codec of a feature map float32 (C, h, w) of another network with the named tokenizer."""

    tokenizer: str

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        tokenizer = _image_tokenizer(tokenizers, self.tokenizer)
        features, shape = cast(FloatArray, value), (tokenizer.config.n_channels, *(row.grid or ()))
        if features.shape != shape:
            raise FormatInvalid(f"features for {_display_name(row)} have the shape {shape}, not {features.shape}")
        return tokenizer.encode(_to_batch(tokenizer, torch.from_numpy(features))).flatten()

    def decode(
        self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusion: DiffusionOptions
    ) -> DecodedValue:
        features = _decode_image(_image_tokenizer(tokenizers, self.tokenizer), row, tokens, diffusion)
        return DecodedValue(np.asarray(features.float().cpu()))


@dataclass(frozen=True)
class VectorTokenCodec:
    """Codec of a vector float32 (d,) with the named MLP tokenizer; decoded vectors have length 1."""

    tokenizer: str

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        tokenizer = vector_tokenizer(tokenizers, self.tokenizer)
        vector, shape = cast(FloatArray, value), (tokenizer.config.n_channels,)
        if vector.shape != shape:
            raise FormatInvalid(f"a vector for {_display_name(row)} has the shape {shape}, not {vector.shape}")
        return tokenizer.encode(_to_batch(tokenizer, torch.from_numpy(vector)))[0]

    def decode(
        self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusion: DiffusionOptions
    ) -> DecodedValue:
        tokenizer = vector_tokenizer(tokenizers, self.tokenizer)
        vectors = tokenizer.decode_tokens(_to_batch(tokenizer, tokens))
        return DecodedValue(np.asarray(F.normalize(vectors.float(), dim=1)[0].cpu()))


@dataclass(frozen=True)
class TextCodec:
    """Codec of a sequence in the named format.

    `ending` is appended to inputs: `[EOS]` marks a complete value, `[S_1]` one that may be partial. `decode_arrays`
    decodes the codes inside values.
    """

    format: str
    ending: str = "[EOS]"
    decode_arrays: Callable[[Tokenizers, Any], Arrays] | None = None

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        """See `Codec.encode`. Sequences are truncated at the length used in training."""
        return torch.tensor(self.ids(tokenizers.text, value, row.longest))

    def ids(self, text: TextTokenizer, value: Value, longest: int) -> list[int]:
        """The first `longest` ids of a value."""
        return text.encode(f"{FORMATS[self.format].to_text(value)} {self.ending}")[:longest]

    def decode(
        self, tokenizers: Tokenizers, row: ModalityConfig, tokens: Tensor, diffusion: DiffusionOptions
    ) -> DecodedValue:
        """See `TokenDecoder.decode`. Text that is not in the format is skipped."""
        parsed = FORMATS[self.format].from_text(tokenizers.text.decode(tokens.tolist()))
        value = tuple(parsed) if isinstance(parsed, list) else parsed
        return DecodedValue(value, self.decode_arrays(tokenizers, value) if self.decode_arrays else {})


@dataclass(frozen=True)
class TextStateCodec:
    """Codec of a text's vectors from another network, input only."""

    def encode(self, tokenizers: Tokenizers, row: ModalityConfig, value: Value) -> Tensor:
        vectors = cast(TextStates, value).vectors
        if vectors.shape[1] != row.width:
            raise FormatInvalid(
                f"states for {_display_name(row)} have {row.width} numbers each, not {vectors.shape[1]}"
            )
        return torch.from_numpy(vectors[: row.max_length].astype(np.float32))


def vector_tokenizer(tokenizers: Tokenizers, name: str) -> VQVAE:
    """The MLP tokenizer `name`. Raises `ConfigInvalid` if it is a tokenizer of images."""
    tokenizer = tokenizers.tokenizer(name)
    if not isinstance(tokenizer, VQVAE):
        raise ConfigInvalid(f"{name} is a tokenizer of images, not of vectors")
    return tokenizer


def _image_tokenizer(tokenizers: Tokenizers, name: str) -> ImageVQVAE | DiVAE:
    tokenizer = tokenizers.tokenizer(name)
    if isinstance(tokenizer, VQVAE):
        raise ConfigInvalid(f"{name} is a tokenizer of vectors, not of images")
    return tokenizer


def _grid_side(row: ModalityConfig) -> int:
    """The side of a square token grid. Raises `ConfigInvalid` for other grids."""
    rows, columns = row.grid or (0, 0)
    if rows != columns or not rows:
        raise ConfigInvalid(f"{row.key} has a grid of {rows} x {columns} tokens; images are square")
    return rows


def _to_batch(tokenizer: torch.nn.Module, entry: Tensor) -> Tensor:
    """A batch of one entry on the tokenizer's device; float32 becomes its dtype."""
    weight = next(tokenizer.parameters())
    batch = entry[None].to(weight.device)
    return batch.to(weight.dtype) if batch.is_floating_point() else batch


def _decode_image(
    tokenizer: ImageVQVAE | DiVAE, row: ModalityConfig, tokens: Tensor, diffusion: DiffusionOptions
) -> Tensor:
    """Tokens int64 (n,) -> image or map float (C, H, W)."""
    grid = _to_batch(tokenizer, tokens).view(1, *(row.grid or ()))
    if isinstance(tokenizer, ImageVQVAE):
        return tokenizer.decode_tokens(grid)[0]
    own = tokenizer.default_sampling
    sampling = replace(own, steps=diffusion.steps, scheduler=diffusion.scheduler or own.scheduler)
    return tokenizer.decode_tokens(grid, seeded_noise(diffusion.seed), sampling, progress=diffusion.progress)[0]


def _display_name(row: ModalityConfig) -> str:
    """A checkpoint key without its technical affixes: `dinov2_global` for `tok_dinov2_global`."""
    return row.key.removeprefix("tok_").partition("@")[0]
