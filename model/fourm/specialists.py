"""The specialist encoders of bundled networks: EfficientNet-Lite0 for values seen as pictures, MiniLM for texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.compute.devices import CPU
from anyseek.model.compute.placement import batch_size_on
from anyseek.model.encoders.efficientnet import Features, ImageEncoder
from anyseek.model.encoders.languages import AnyLanguage, is_foreign
from anyseek.model.encoders.minilm import MiniLM
from anyseek.model.encoders.preprocess import encoder_input, render_for_encoder
from anyseek.model.fourm.bundled.dense_decoder import mirror
from anyseek.model.fourm.bundled.layout import MAX_CAPTION_TOKENS
from anyseek.model.seam import Sample, Value
from anyseek.model.towers.space import TowerInput

_CPU_BATCH = 4  # pictures: on a CPU the image encoder is fastest while its maps fit the cache


class Specialist(StrEnum):
    """The two encoders."""

    IMAGE = "image"  # sees whatever can be rendered as a picture
    TEXT = "text"


@dataclass(frozen=True)
class SpecialistOutput:
    """An encoder's output for one value, float32.

    `states` are the projected map (256, 7, 7) of a picture, or the states (n, 384) of a text's first n tokens, at most
    24. `own_vector` is the unit vector of the whole value: 1280 numbers for a picture, 384 for a text. `tower_input`,
    one row, is the towers' input for a picture, if there are towers.
    """

    states: Tensor
    own_vector: Tensor
    tower_input: TowerInput | None = None


Outputs = dict[str, dict[int, SpecialistOutput]]


class Specialists:
    """Both encoders, thread-safe.

    `projection` reduces the channels of maps, `to_tower_input` makes the towers' input from features and modalities,
    and `levels` computes a picture's maps of all strides.
    """

    def __init__(
        self,
        image_encoder: ImageEncoder,
        text_encoder: MiniLM | AnyLanguage,
        projection: Callable[[Tensor], Tensor],
        to_tower_input: Callable[[Features, Sequence[str]], TowerInput] | None = None,
        levels: Callable[[Tensor], tuple[Tensor, ...]] | None = None,
    ) -> None:
        self.image_encoder, self._to_tower_input, self._levels = image_encoder, to_tower_input, levels
        self._text_encoder, self._projection = text_encoder, projection
        self._device = text_encoder.device

    @torch.inference_mode()
    def encode(self, samples: Sequence[Sample], by_specialist: Mapping[str, Specialist]) -> Outputs:
        """Encode the modalities in `by_specialist`: outputs by modality, pictures first, and by sample index.

        Pictures of all modalities are batched together, and so are the texts of one modality.
        """
        pictures = [name for name, specialist in by_specialist.items() if specialist is Specialist.IMAGE]
        texts = [name for name, specialist in by_specialist.items() if specialist is Specialist.TEXT]
        outputs = self._encode_images(pictures, samples)
        return outputs | {name: self._encode_texts(name, samples) for name in texts}

    @torch.inference_mode()
    def image_features(self, picture: Value) -> Features:
        """The image encoder's output for one picture."""
        return self.image_encoder(encoder_input([render_for_encoder("rgb", picture)]))

    @torch.inference_mode()
    def sentence_vectors(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 (n, 384) of n texts."""
        vectors: Tensor = self._text_encoder(texts).pooled
        return vectors

    def reads(self, text: str) -> bool:
        """Whether the text encoder probably knows the language of a text."""
        return not isinstance(self._text_encoder, MiniLM) or not is_foreign(self._text_encoder, text)

    @torch.inference_mode()
    def mirrored_levels(self, modality: str, value: Value) -> tuple[Tensor, ...]:
        """The maps of `anyseek.model.encoders.efficientnet.LEVELS` (B = 2) of a value's look and the mirrored look."""
        assert self._levels is not None, "a bundle with a decoder of images passes `levels`"
        look = render_for_encoder(modality, value)
        return self._levels(encoder_input([look, mirror(modality, look)]))

    def _encode_images(self, names: Sequence[str], samples: Sequence[Sample]) -> Outputs:
        indices = [(name, index) for name in names for index in _indices_with(name, samples)]
        outputs: Outputs = {name: {} for name in names}
        batch_size = _CPU_BATCH if self._device.type == CPU else batch_size_on(self._device)
        for start in range(0, len(indices), batch_size):
            chunk = indices[start : start + batch_size]
            looks = [render_for_encoder(name, samples[index].values[name]) for name, index in chunk]
            features = self.image_encoder(encoder_input(looks))
            maps, vectors = self._projection(features.grid), F.normalize(features.pooled, dim=1)
            tower_input = None
            if self._to_tower_input is not None:
                tower_input = self._to_tower_input(features, [name for name, _ in chunk])
            for row, (name, index) in enumerate(chunk):
                row_input = None if tower_input is None else tower_input.select(slice(row, row + 1))
                outputs[name][index] = SpecialistOutput(maps[row], vectors[row], row_input)
        return outputs

    def _encode_texts(self, name: str, samples: Sequence[Sample]) -> dict[int, SpecialistOutput]:
        indices = _indices_with(name, samples)
        encoded = self._text_encoder([cast(str, samples[index].values[name]) for index in indices])
        return {
            index: SpecialistOutput(states[: min(length, MAX_CAPTION_TOKENS)], pooled)
            for index, states, length, pooled in zip(
                indices, encoded.states, encoded.lengths, encoded.pooled, strict=True
            )
        }


def _indices_with(name: str, samples: Sequence[Sample]) -> list[int]:
    """Indices of the samples that have a modality."""
    return [index for index, sample in enumerate(samples) if name in sample.values]
