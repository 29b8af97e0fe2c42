"""The two specialist encoders that labellers share: loaded once per process, each caching its last result."""

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from anyseek.model.data.registry import Place
from anyseek.model.encoders.efficientnet import Features, class_sentences, conse, load_efficientnet
from anyseek.model.encoders.minilm import TextStates, load_minilm
from anyseek.model.encoders.preprocess import VERSION, encoder_input
from anyseek.model.encoders.pull import check_encoders, encoders_digest, encoders_folder
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray

_TEXTS_AT_ONCE = 64


def checked_encoders(options: object, place: Place) -> str:
    """Identify the encoders and how pictures are prepared. Raises `WeightsMissing`, `WeightsCorrupt`."""
    check_encoders(place.home)
    return f"encoders {encoders_digest()[:16]}, preprocessing {VERSION}"


class Encoders:
    """EfficientNet-Lite0 and MiniLM, each loaded when it is first used."""

    def __init__(self, home: Path) -> None:
        self._folder = encoders_folder(home)
        self._seen: tuple[ByteArray, Features] | None = None
        self._read: tuple[tuple[str, ...], TextStates] | None = None

    @torch.inference_mode()
    def features(self, pixels: ByteArray) -> Features:
        """The encoder's output for uint8 (224, 224, 3), as a batch of one."""
        if self._seen is None or not np.array_equal(self._seen[0], pixels):
            self._seen = pixels, self._picture_encoder(encoder_input([pixels]))
        return self._seen[1]

    @torch.inference_mode()
    def half_features(self, pixels: ByteArray) -> Features:
        """The bfloat16 encoder's output for uint8 (224, 224, 3), in half the time if the CPU supports that type."""
        found: Features = self._half_picture_encoder(encoder_input([pixels]).bfloat16())
        return found

    @torch.inference_mode()
    def states(self, texts: Sequence[str]) -> TextStates:
        """The encoder's output for n texts."""
        if self._read is None or self._read[0] != tuple(texts):
            self._read = tuple(texts), self._text_encoder(texts)
        return self._read[1]

    @torch.inference_mode()
    def conse(self, pixels: ByteArray) -> FloatArray:
        """A sentence vector of uint8 (224, 224, 3) from its class probabilities: unit (384,)."""
        return conse(self.features(pixels).logits, self._classes)[0].numpy()

    @cached_property
    def _picture_encoder(self) -> torch.nn.Module:
        return load_efficientnet(self._folder / "efficientnet-lite0.safetensors")

    @cached_property
    def _half_picture_encoder(self) -> torch.nn.Module:
        return load_efficientnet(self._folder / "efficientnet-lite0.safetensors").bfloat16()

    @cached_property
    def _text_encoder(self) -> torch.nn.Module:
        return load_minilm(self._folder / "minilm-l6.safetensors", self._folder / "minilm-l6.tokenizer.json")

    @cached_property
    def _classes(self) -> torch.Tensor:
        """Vectors of the class names: unit (1000, 384)."""
        names = class_sentences()
        starts = range(0, len(names), _TEXTS_AT_ONCE)
        return torch.cat([self._text_encoder(names[start : start + _TEXTS_AT_ONCE]).pooled for start in starts])


@cache
def shared_encoders(home: Path) -> Encoders:
    """The encoders of this process."""
    return Encoders(home)


def unit(vector: torch.Tensor) -> FloatArray:
    """A vector (d,) at length 1."""
    return F.normalize(vector, dim=0).numpy()
