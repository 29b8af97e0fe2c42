"""The specialist encoders of bundled networks: EfficientNet-Lite0 for values seen as pictures, MiniLM for texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.compute.devices import CPU
from anyseek.model.compute.placement import batch_on
from anyseek.model.encoders.efficientnet import Features, ImageEncoder
from anyseek.model.encoders.minilm import MiniLM
from anyseek.model.encoders.preprocess import encoder_input, looked_at
from anyseek.model.fourm.bundled.dense_decoder import mirrored
from anyseek.model.fourm.bundled.layout import LONGEST_CAPTION
from anyseek.model.seam import Sample, Value
from anyseek.model.towers.space import Seen

_PICTURES_AT_ONCE = 4  # on a CPU the image encoder is fastest while its maps fit the cache


class Specialist(StrEnum):
    """The two encoders."""

    IMAGE = "image"  # sees whatever can be rendered as a picture
    TEXT = "text"


@dataclass(frozen=True)
class Read:
    """An encoder's output for one value, float32.

    `states` are the projected map (256, 7, 7) of a picture, or the states (n, 384) of a text's first n tokens, at most
    24. `own` is the unit vector of the whole value: 1280 numbers for a picture, 384 for a text. `seen` is what towers
    take of a picture, one row, where there are towers.
    """

    states: Tensor
    own: Tensor
    seen: Seen | None = None


class Specialists:
    """Both encoders, the `projection` of maps to fewer channels, and what towers `see`; safe for several threads.

    `levels` gives a picture's maps of all strides.
    """

    def __init__(
        self,
        image_encoder: ImageEncoder,
        text_encoder: MiniLM,
        projection: Callable[[Tensor], Tensor],
        see: Callable[[Features], Seen] | None = None,
        levels: Callable[[Tensor], tuple[Tensor, ...]] | None = None,
    ) -> None:
        self.image_encoder, self._towers_see, self._levels = image_encoder, see, levels
        self._text_encoder, self._projection = text_encoder, projection
        self._device = text_encoder.device

    @torch.inference_mode()
    def read(self, samples: Sequence[Sample], readers: Mapping[str, Specialist]) -> dict[str, dict[int, Read]]:
        """Each value's encoder output, by modality in `readers` (pictures before texts) and by place in `samples`.

        Pictures of all modalities go through the encoder together, and so do the texts of one.
        """
        pictures = [name for name, reader in readers.items() if reader is Specialist.IMAGE]
        texts = [name for name, reader in readers.items() if reader is Specialist.TEXT]
        outputs = self._see(pictures, samples)
        return outputs | {name: self._read_texts(name, samples) for name in texts}

    @torch.inference_mode()
    def look(self, picture: Value) -> Features:
        """The image encoder's output for one picture."""
        return self.image_encoder(encoder_input([looked_at("rgb", picture)]))

    @torch.inference_mode()
    def sentences(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 (n, 384) of n texts."""
        vectors: Tensor = self._text_encoder(texts).pooled
        return vectors

    @torch.inference_mode()
    def levels_both_ways(self, modality: str, value: Value) -> tuple[Tensor, ...]:
        """The maps of `anyseek.model.encoders.efficientnet.LEVELS` (B = 2) of a value's look, as it is and mirrored."""
        assert self._levels is not None, "a decoder of images comes with what gives it maps"
        look = looked_at(modality, value)
        return self._levels(encoder_input([look, mirrored(modality, look)]))

    def _see(self, names: Sequence[str], samples: Sequence[Sample]) -> dict[str, dict[int, Read]]:
        places = [(name, place) for name in names for place in _places(name, samples)]
        outputs: dict[str, dict[int, Read]] = {name: {} for name in names}
        at_once = _PICTURES_AT_ONCE if self._device.type == CPU else batch_on(self._device)
        for start in range(0, len(places), at_once):
            chunk = places[start : start + at_once]
            looks = [looked_at(name, samples[place].values[name]) for name, place in chunk]
            features = self.image_encoder(encoder_input(looks))
            maps, vectors = self._projection(features.grid), F.normalize(features.pooled, dim=1)
            seen = None if self._towers_see is None else self._towers_see(features)
            for row, (name, place) in enumerate(chunk):
                own_row = None if seen is None else seen.at(slice(row, row + 1))
                outputs[name][place] = Read(maps[row], vectors[row], own_row)
        return outputs

    def _read_texts(self, name: str, samples: Sequence[Sample]) -> dict[int, Read]:
        places = _places(name, samples)
        encoded = self._text_encoder([cast(str, samples[place].values[name]) for place in places])
        return {
            place: Read(states[: min(length, LONGEST_CAPTION)], own)
            for place, states, length, own in zip(places, encoded.states, encoded.lengths, encoded.pooled, strict=True)
        }


def _places(name: str, samples: Sequence[Sample]) -> list[int]:
    """The places of the samples that have a modality."""
    return [place for place, sample in enumerate(samples) if name in sample.values]
