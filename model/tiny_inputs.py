"""From samples to what bundled networks take: pictures and texts through the specialist encoders, the rest as ids.

B samples. What a sample lacks is masked for the network, and zero among the own vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from model.bundle import Bundle
from model.config import EmbeddingKind
from model.embedder import Sample, Value
from model.encoders.minilm import MiniLM
from model.encoders.remembering import ImageEncoder
from model.formats.table import FORMATS
from model.preprocess import encoder_input, looked_at
from model.tiny import INPUTS, LONGEST_CAPTION
from model.tokenizers.text import TextTokenizer
from model.tokens import ModalityInput

_PICTURES_AT_ONCE = 4  # on a CPU the image encoder is fastest while its maps fit the cache


@dataclass(frozen=True)
class Encoded:
    """What the encoders make of B samples that have at least one modality among them.

    `inputs` for the network by its keys; `own` float32 (B, d) by modality, the unit vectors that the encoders alone
    make of it: 1280 numbers of whatever is seen, 384 of captions; metadata has none.
    """

    inputs: dict[str, ModalityInput]
    own: dict[str, Tensor]


class SampleEncoder:
    """The specialist encoders of a bundled network and its vocabulary."""

    def __init__(self, bundle: Bundle, image_encoder: ImageEncoder, text_encoder: MiniLM) -> None:
        self.image_encoder = image_encoder
        self._bundle, self._text_encoder = bundle, text_encoder

    def encode(self, samples: Sequence[Sample]) -> Encoded:
        """Encode samples of modalities that the network takes.

        Raises `FormatInvalid` for a value that has no text in its format.
        """
        given = [name for name in self._bundle.inputs if any(name in sample.values for sample in samples)]
        maps, own = self._see([name for name in given if INPUTS[name].is_seen], samples)
        inputs = {}
        for name in given:
            key = INPUTS[name].key
            match self._bundle.network.config.row(key).kind:
                case EmbeddingKind.PIXELS:
                    inputs[key] = _on_grid(maps[name], _places(name, samples))
                case EmbeddingKind.SEQUENCE_EMBEDDING:
                    inputs[key], own[name] = self._states(name, samples)
                case EmbeddingKind.SEQUENCE:
                    inputs[key] = self._ids(name, samples)
        return Encoded(inputs, own)

    def _see(self, names: Sequence[str], samples: Sequence[Sample]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """By modality projected maps (B, 256, 7, 7) and unit pooled vectors (B, 1280), from as few passes as can be."""
        seen = [(name, place) for name in names for place in _places(name, samples)]
        maps: dict[str, Tensor] = {}
        own: dict[str, Tensor] = {}
        for start in range(0, len(seen), _PICTURES_AT_ONCE):
            some = seen[start : start + _PICTURES_AT_ONCE]
            pixels = [looked_at(name, samples[place].values[name]) for name, place in some]
            features = self.image_encoder(encoder_input(pixels))
            grids, pooled = self._bundle.projection(features.grid), F.normalize(features.pooled, dim=1)
            for (name, place), grid, vector in zip(some, grids, pooled, strict=True):
                maps.setdefault(name, grid.new_zeros(len(samples), *grid.shape))[place] = grid
                own.setdefault(name, vector.new_zeros(len(samples), len(vector)))[place] = vector
        return maps, own

    def _states(self, name: str, samples: Sequence[Sample]) -> tuple[ModalityInput, Tensor]:
        """MiniLM's states of texts (B, n, 384) for the network, and its sentence vectors (B, 384)."""
        places = _places(name, samples)
        encoded = self._text_encoder([cast(str, samples[place].values[name]) for place in places])
        states, unused = encoded.states[:, :LONGEST_CAPTION], encoded.unused[:, :LONGEST_CAPTION]
        values = states.new_zeros(len(samples), *states.shape[1:])
        mask = torch.ones(len(samples), states.shape[1], dtype=torch.bool)
        own = encoded.pooled.new_zeros(len(samples), encoded.pooled.shape[1])
        values[places], mask[places], own[places] = states, unused, encoded.pooled
        return ModalityInput(values, mask), own

    def _ids(self, name: str, samples: Sequence[Sample]) -> ModalityInput:
        """Texts of values as ids (B, n), padded on the right."""
        longest = self._bundle.network.config.row(INPUTS[name].key).max_length
        values = [sample.values.get(name) for sample in samples]
        return padded_ids(
            [[] if value is None else text_ids(self._bundle.text, name, value, longest) for value in values]
        )


def text_ids(text: TextTokenizer, name: str, value: Value, longest: int) -> list[int]:
    """A value of a sequence modality as ids; what is longer than the network was trained on is cut, as it was then."""
    return text.encode(f"{FORMATS[name].to_text(value)} {INPUTS[name].ending}")[:longest]


def padded_ids(rows: Sequence[Sequence[int]]) -> ModalityInput:
    """Rows of ids, one of them not empty, as (B, n) padded on the right."""
    values = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.int64)
    mask = torch.ones(values.shape, dtype=torch.bool)
    for place, row in enumerate(rows):
        values[place, : len(row)], mask[place, : len(row)] = torch.tensor(row, dtype=torch.int64), False
    return ModalityInput(values, mask)


def _places(name: str, samples: Sequence[Sample]) -> list[int]:
    """Which samples have a modality."""
    return [place for place, sample in enumerate(samples) if name in sample.values]


def _on_grid(maps: Tensor, places: Sequence[int]) -> ModalityInput:
    """Maps (B, C, h, w) of which only those at `places` are used."""
    mask = torch.ones(len(maps), maps.shape[2] * maps.shape[3], dtype=torch.bool)
    mask[list(places)] = False
    return ModalityInput(maps, mask)
