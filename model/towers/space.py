"""One space for photos and all queries for them: looks that need no training, plus what two small towers learned.

A vector has four blocks, each centred and scaled to length 1 before it is weighted, so that one cosine is a weighted
sum of four: `whole` and `places` (`model.towers.looks`), `words` (MiniLM's sentence vector of a caption, ConSE's of a
photo), and `learned` (a tower for photos and one for captions, trained by contrast). A photo has all four with equal
weights. A query has those of its modality, weighted as `weights` says. The weights were chosen on sources left out of
training, and the untrained blocks stay in the sum, so that no result is worse than without training.

Before comparison, the look of a drawing or map is centred on the nearest mean of its modality. There is one mean per
source that the model knows, because renderings of different origin lie around different means. If `mapped` has the
drawing's modality, a linear map's prediction of the photo's whole look is added to the drawing's own.

B samples.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model.encoders.efficientnet import CHANNELS, FINE_CHANNELS
from model.encoders.minilm import WIDTH
from model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from model.towers.looks import PARTS, places_vectors, whole_vectors

FILE = "towers.safetensors"
TOLD = "towers"  # of the file's metadata
WHOLE, PLACES, WORDS, LEARNED = "whole", "places", "words", "learned"
_PLACES = FINE_CHANNELS * PARTS * PARTS
_PEAK_POWER = 0.7


@dataclass(frozen=True)
class Weights:
    """The weight of each block of a query."""

    whole: float = 0.0
    places: float = 0.0
    words: float = 0.0
    learned: float = 0.0


@dataclass(frozen=True)
class Shape:
    """Lengths of the blocks, of what the photo tower sees beside words, and of the towers' hidden layer."""

    looks: int = 512
    seen: int = 512
    hidden: int = 384
    learned: int = 256

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return 2 * self.looks + WIDTH + self.learned


@dataclass(frozen=True)
class Seen:
    """The image encoder's output for B pictures: `pooled` and `peak` (B, 1280), `parts` (B, 112, 4, 4).

    `words` (B, 384) is their ConSE vector.
    """

    pooled: Tensor
    peak: Tensor
    parts: Tensor
    words: Tensor


class Tower(nn.Module):
    """A hidden layer beside a linear map: (B, width_in) -> unit (B, width_out)."""

    def __init__(self, width_in: int, hidden: int, width_out: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(width_in, hidden), nn.Linear(hidden, width_out)
        self.straight = nn.Linear(width_in, width_out, bias=False)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(x, self.dropout, self.training)
        hidden = F.dropout(F.gelu(self.wide(x)), self.dropout, self.training)
        return F.normalize(self.narrow(hidden) + self.straight(x), dim=1)


class Projection(nn.Module):
    """Rows less their mean, along some axes: (B, width_in) -> (B, width_out)."""

    mean: Tensor
    axes: Tensor

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width_in))
        self.register_buffer("axes", torch.zeros(width_in, width_out))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) @ self.axes


class Towers(nn.Module):
    """The towers' space.

    `known` counts the means of each visual modality, one for each source it was fitted on; `mapped` gives the weight of
    a modality's linear map relative to the look itself.
    """

    def __init__(
        self, shape: Shape, weights: Mapping[str, Weights], known: Mapping[str, int], mapped: Mapping[str, float]
    ) -> None:
        super().__init__()
        self.shape, self.weights = shape, dict(weights)
        self.known, self.mapped = dict(known), dict(mapped)
        self.whole, self.places = Projection(CHANNELS, shape.looks), Projection(_PLACES, shape.looks)
        self.seen = Projection(2 * CHANNELS, shape.seen)
        self.photo = Tower(shape.seen + WIDTH, shape.hidden, shape.learned)
        self.caption = Tower(WIDTH, shape.hidden, shape.learned)
        for name, width in self._means().items():
            self.register_buffer(name, torch.zeros(width))
        for modality, count in known.items():
            for block in (WHOLE, PLACES):
                self.register_buffer(f"{block}_of_{modality}", torch.zeros(count, shape.looks))
        for modality in mapped:
            self.register_buffer(f"map_of_{modality}", torch.zeros(shape.looks, shape.looks))

    def _means(self) -> dict[str, int]:
        """What is taken off by name: of ConSE's vectors, of captions', of both towers', and of whole photo vectors."""
        learned = self.shape.learned
        return {
            "words_mean": WIDTH,
            "captions_mean": WIDTH,
            "photo_mean": learned,
            "caption_mean": learned,
            "prior": self.shape.dimension,
        }

    def seen_rows(self, seen: Seen) -> Tensor:
        """The photo tower's visual input before its axes are applied: (B, 2560)."""
        peak = F.normalize(seen.peak.float().clamp(min=0) ** _PEAK_POWER, dim=1)
        return torch.cat([whole_vectors(seen.pooled), peak], dim=1)

    def tower_input(self, seen: Seen) -> Tensor:
        """The photo tower's input: (B, seen + 384)."""
        return torch.cat([self.seen(self.seen_rows(seen)), seen.words - self.get_buffer("words_mean")], dim=1)

    def looks(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Both looks of pictures, not centred for their modality: two of (B, looks)."""
        return self.whole(whole_vectors(seen.pooled)), self.places(places_vectors(seen.parts))

    def photos(self, seen: Seen) -> dict[str, Tensor]:
        """The blocks of photos, each of length 1."""
        whole, places = self.looks(seen)
        words = seen.words - self.get_buffer("words_mean")
        learned = self.photo(self.tower_input(seen)) - self.get_buffer("photo_mean")
        return _unit({WHOLE: whole, PLACES: places, WORDS: words, LEARNED: learned})

    def captions(self, vectors: Tensor) -> dict[str, Tensor]:
        """The blocks of captions, from MiniLM's vectors (B, 384)."""
        words = vectors - self.get_buffer("captions_mean")
        return _unit({WORDS: words, LEARNED: self.caption(words) - self.get_buffer("caption_mean")})

    def rendered(self, modality: str, seen: Seen) -> dict[str, Tensor]:
        """The blocks of drawings and maps, each centred on the nearest of its modality's means."""
        blocks = dict(zip((WHOLE, PLACES), self.looks(seen), strict=True))
        for block, rows in blocks.items():
            if self.known.get(modality):
                means = self.get_buffer(f"{block}_of_{modality}")
                blocks[block] = rows - means[torch.cdist(rows, means).argmin(dim=1)]
        if modality in self.mapped:
            told = F.normalize(blocks[WHOLE] @ self.get_buffer(f"map_of_{modality}"), dim=1)
            blocks[WHOLE] = F.normalize(blocks[WHOLE], dim=1) + self.mapped[modality] * told
        return _unit(blocks)

    def query(self, modality: str, blocks: Mapping[str, Tensor]) -> Tensor:
        """Blocks as a vector, weighted as the modality's are: (B, d), of any length."""
        return self._joined(blocks, asdict(self.weights[modality]))

    def item(self, blocks: Mapping[str, Tensor]) -> Tensor:
        """Blocks of equal weight as a vector: (B, d), of any length."""
        return self._joined(blocks, dict.fromkeys((WHOLE, PLACES, WORDS, LEARNED), 1.0))

    def _joined(self, blocks: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        rows = next(iter(blocks.values()))
        widths = {WHOLE: self.shape.looks, PLACES: self.shape.looks, WORDS: WIDTH, LEARNED: self.shape.learned}
        parts = [
            blocks[name] * weights[name] if name in blocks else rows.new_zeros(len(rows), width)
            for name, width in widths.items()
        ]
        return torch.cat(parts, dim=1)


def save_towers(towers: Towers, path: Path) -> None:
    """Write the space: every tensor as float16, what they belong to in the metadata."""
    told = {
        "shape": asdict(towers.shape),
        "weights": {name: asdict(one) for name, one in towers.weights.items()},
        "known": towers.known,
        "mapped": towers.mapped,
    }
    beside = path.with_name(f".{path.name}.partial")
    save_file(
        {name: one.half().contiguous() for name, one in towers.state_dict().items()}, beside, {TOLD: json.dumps(told)}
    )
    beside.replace(path)


def load_towers(path: Path) -> Towers:
    """The space in a file, in float32. Raises `WeightsMissing`, `WeightsCorrupt`, `CheckpointMismatch`."""
    if not path.is_file():
        raise WeightsMissing(f"there is no weights file {path}")
    try:
        with safe_open(path, "pt") as file:
            told: dict[str, Any] = json.loads((file.metadata() or {})[TOLD])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        weights = {name: Weights(**one) for name, one in told["weights"].items()}
        towers = Towers(Shape(**told["shape"]), weights, told["known"], told["mapped"])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsCorrupt(f"{path} holds no towers: {error}") from error
    try:
        towers.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointMismatch(f"{path} holds no towers: {' '.join(str(error).split())}") from error
    return towers.eval().requires_grad_(False)


def _unit(blocks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: F.normalize(rows, dim=1) for name, rows in blocks.items()}
