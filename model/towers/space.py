"""One space for photos and all queries for them: looks that need no training, plus what two small towers learned.

A vector has four blocks, each centred and scaled to length 1 before it is weighted, so that one cosine is a weighted
sum of four: `whole` and `places` (`anyseek.model.towers.space`), `words` (MiniLM's sentence vector of a caption,
ConSE's of a photo), and `learned` (a tower for photos and one for captions, trained by contrast). A photo has all four
with equal weights. A query has those of its modality, weighted as `weights` says. The weights were chosen on sources
left out of training, and the untrained blocks stay in the sum, so that no result is worse than without training.

Before comparison, the look of a drawing or map is centred on the nearest mean of its modality. There is one mean per
source that the model knows, because renderings of different origin lie around different means. If `mapped` has the
drawing's modality, a linear map's prediction of the photo's whole look is added to the drawing's own.

Some sources are of one *kind*: their captions are all alike, such as lists of the furniture of rendered rooms. A
caption is centred on the mean of a kind only as far as it is near it, because other captions would lose what they say.

Besides ConSE's words, a photo may have those that a linear map `tells` of its pooled vector. The map belongs to the
network beside the towers and knows the pictures that the network learned from, which ConSE's classes do not. So it
counts as far as a photo looks like those of a kind; in the words of other photos it did harm.

B samples.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from anyseek.model.checkpoints.quantized import dequantized
from anyseek.model.encoders.efficientnet import CHANNELS, CLASSES, FINE_CHANNELS, PARTS, Features, conse
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing

_POWER = 0.35
_FAINT = 1.0  # a channel that varies less than this over the parts says little, and is not blown up


def whole_vectors(pooled: Tensor) -> Tensor:
    """Pooled features (B, 1280), 0 or more -> unit float32 (B, 1280)."""
    return F.normalize(pooled.float().clamp(min=0) ** _POWER, dim=1)


def places_vectors(parts: Tensor) -> Tensor:
    """`Features.parts` (B, C, 4, 4), each channel standardised over the parts -> unit float32 (B, 16 C)."""
    centred = parts.float() - parts.float().mean(dim=(2, 3), keepdim=True)
    spread = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return F.normalize((centred / (spread + _FAINT)).flatten(1), dim=1)


FILE = "towers.safetensors"
CLASSES_FILE = "classes.safetensors"
TOLD = "towers"  # of the file's metadata
PHOTO, CAPTION = "rgb", "caption"
CONSE_TEMPERATURE = 3.0  # chosen on sources that were left out
WHOLE, PLACES, WORDS, LEARNED = "whole", "places", "words", "learned"
_MEANS_OF = {PHOTO: (WHOLE,), CAPTION: (WORDS, LEARNED)}  # of the kinds; of other modalities both looks
_PLACES = FINE_CHANNELS * PARTS * PARTS
_PEAK_POWER = 0.7
# How much words count beside a map in late fusion. Over a gallery, cosines of captions spread twice as far as those of
# maps, and the right item stands out less: the mean of its cosine over the variance of all is 8 to 24 for captions, and
# 98 to 180 for maps (docs/weights.md).
SHARES = {name: {CAPTION: 0.15} for name in ("depth", "normal", "semseg")}
# Cosines to a kind's mean, of looks and of captions: up to the first a thing is not of the kind, from the second it is.
# Everyday captions of kitchens come as near as 0.5 to lists of furniture.
_LOOKS_LIKE, _READS_LIKE = (0.35, 0.55), (0.5, 0.65)


@dataclass(frozen=True)
class Weights:
    """The weight of each block of a query."""

    whole: float = 0.0
    places: float = 0.0
    words: float = 0.0
    learned: float = 0.0


@dataclass(frozen=True)
class Shape:
    """Lengths of the blocks, of what the photo tower sees beside words, and of the towers' hidden layer.

    `told` counts the axes of what the network's linear map tells of photos of a known kind, which the photo tower sees,
    0 without that map; `telling` is its weight in the block of words, relative to ConSE's.
    """

    looks: int = 512
    seen: int = 512
    hidden: int = 384
    learned: int = 256
    told: int = 0
    telling: float = 0.0

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

    def at(self, rows: Tensor | slice) -> "Seen":
        """Its rows int64 (b,), or a slice of them."""
        return Seen(*(part[rows] for part in (self.pooled, self.peak, self.parts, self.words)))


class Tower(nn.Module):
    """A hidden layer beside a linear map: (B, width_in) -> unit (B, width_out)."""

    def __init__(self, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(width_in, hidden), nn.Linear(hidden, width_out)
        self.straight = nn.Linear(width_in, width_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.narrow(F.gelu(self.wide(x))) + self.straight(x), dim=1)


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

    `known` counts the means of each visual modality, one for each source it was fitted on, and the kinds of captions
    and of their photos; `mapped` gives the weight of
    a modality's linear map relative to the look itself. `classes` (1000, 384), the sentences of ConSE's classes, are
    the same for all towers and have a file of their own.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Mapping[str, Weights],
        known: Mapping[str, int],
        mapped: Mapping[str, float],
        tells: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self._tells = tells
        self.shape, self.weights = shape, dict(weights)
        self.known, self.mapped = dict(known), dict(mapped)
        self.whole, self.places = Projection(CHANNELS, shape.looks), Projection(_PLACES, shape.looks)
        self.seen = Projection(2 * CHANNELS, shape.seen)
        if shape.told:
            self.told = Projection(WIDTH, shape.told)
        self.photo = Tower(shape.seen + WIDTH + shape.told, shape.hidden, shape.learned)
        self.caption = Tower(WIDTH, shape.hidden, shape.learned)
        self.register_buffer("classes", torch.zeros(CLASSES, WIDTH), persistent=False)
        # What is taken off: of ConSE's vectors, of both towers', and of whole photo vectors.
        learned = shape.learned
        means = {"words_mean": WIDTH, "photo_mean": learned, "caption_mean": learned, "prior": shape.dimension}
        for name, width in means.items():
            self.register_buffer(name, torch.zeros(width))
        for modality, count in known.items():
            for block in _MEANS_OF.get(modality, (WHOLE, PLACES)):
                width = dict(zip((WHOLE, PLACES, WORDS, LEARNED), self.blocks, strict=True))[block]
                self.register_buffer(f"{block}_of_{modality}", torch.zeros(count, width))
        for modality in mapped:
            self.register_buffer(f"map_of_{modality}", torch.zeros(shape.looks, shape.looks))

    @property
    def blocks(self) -> tuple[int, ...]:
        """The widths of a vector's blocks."""
        return self.shape.looks, self.shape.looks, WIDTH, self.shape.learned

    def see(self, found: Features) -> Seen:
        """The towers' inputs from the encoder's output for B pictures."""
        words = conse(found.logits, self.get_buffer("classes"), CONSE_TEMPERATURE)
        return Seen(found.pooled, found.grid.amax(dim=(2, 3)), found.parts, words)

    def vectors(self, seen: Mapping[str, Seen], texts: Tensor | None, gallery: bool) -> Tensor:
        """Unit vectors (B, d) of B samples, whose modalities add up.

        `seen` are their visual modalities and `texts` (B, 384) their captions' vectors, zero where a sample lacks them.
        In a gallery a photo is stored with equal weights, to which its caption's words are added and nothing else.
        """
        # Rows without a modality go through it as well and are left out after it: counting them would wait for a card.
        present = {name: found.pooled.any(dim=1, keepdim=True) for name, found in seen.items()}
        blocks = {
            name: self.photos(found) if name == PHOTO else self.rendered(name, found) for name, found in seen.items()
        }
        if texts is not None:
            present[CAPTION], blocks[CAPTION] = texts.any(dim=1, keepdim=True), self.captions(texts)
        rows = []
        for name in sorted(blocks):
            asking, stored = self.query(name, blocks[name]), self.item(blocks[name])
            if gallery and PHOTO in present:
                added = stored if name in (PHOTO, CAPTION) else torch.zeros_like(stored)
                asking = torch.where(present[PHOTO], added, asking)
            rows.append(torch.where(present[name], asking, 0.0))
        total = torch.stack(rows).sum(dim=0)
        return F.normalize(total, dim=1)

    def _tower_input(self, seen: Seen) -> Tensor:
        """The photo tower's input: (B, seen + 384 + told)."""
        peak = F.normalize(seen.peak.float().clamp(min=0) ** _PEAK_POWER, dim=1)
        rows = torch.cat([whole_vectors(seen.pooled), peak], dim=1)  # (B, 2560)
        parts = [self.seen(rows), seen.words - self.get_buffer("words_mean")]
        if self.shape.told:
            parts.append(self._told(seen) @ self.told.axes)
        return torch.cat(parts, dim=1)

    def _told(self, seen: Seen) -> Tensor:
        """What the network's linear map tells of photos, less its mean: (B, 384), 1 long of those of a known kind.

        It is zero of photos that look like none.
        """
        assert self._tells is not None, "towers with told words are loaded with what tells them"
        whole, kinds = self.whole(whole_vectors(seen.pooled)), self.get_buffer(f"{WHOLE}_of_{PHOTO}")
        words = F.normalize(self._tells(F.normalize(seen.pooled.float(), dim=1)), dim=1)
        told = F.normalize(words - self.told.mean, dim=1)
        return _of_kind(whole, kinds, *_LOOKS_LIKE)[0] * told

    def looks(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Both looks of pictures, not centred for their modality: two of (B, looks)."""
        return self.whole(whole_vectors(seen.pooled)), self.places(places_vectors(seen.parts))

    def photos(self, seen: Seen) -> dict[str, Tensor]:
        """The blocks of photos, each of length 1."""
        whole, places = self.looks(seen)
        words = seen.words - self.get_buffer("words_mean")
        if self.shape.told:
            words = F.normalize(words, dim=1) + self.shape.telling * self._told(seen)
        learned = self.photo(self._tower_input(seen)) - self.get_buffer("photo_mean")
        return _unit({WHOLE: whole, PLACES: places, WORDS: words, LEARNED: learned})

    def captions(self, vectors: Tensor) -> dict[str, Tensor]:
        """The blocks of captions, from MiniLM's vectors (B, 384), centred as far as they are of a known kind."""
        words, mean = vectors, self.get_buffer("caption_mean").expand(len(vectors), -1)
        if self.known.get(CAPTION):
            of_words, of_learned = (self.get_buffer(f"{block}_of_{CAPTION}") for block in (WORDS, LEARNED))
            share, nearest = _of_kind(vectors, of_words, *_READS_LIKE)
            words = words - share * of_words[nearest]
            mean = torch.lerp(mean, of_learned[nearest], share)
        return _unit({WORDS: words, LEARNED: self.caption(vectors) - mean})

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
        parts = [
            blocks[name] * weights[name] if name in blocks else rows.new_zeros(len(rows), width)
            for name, width in zip((WHOLE, PLACES, WORDS, LEARNED), self.blocks, strict=True)
        ]
        return torch.cat(parts, dim=1)


def load_towers(path: Path, classes: Path | None = None, tells: Callable[[Tensor], Tensor] | None = None) -> Towers:
    """The space in a file, in float32, with the classes in the file `classes`; without these it sees no words.

    `tells` is the network's map from unit vectors (B, 1280) of pictures to words (B, 384), if the towers need it.

    Raises `WeightsMissing`, `WeightsCorrupt`, `CheckpointMismatch`.
    """
    if not path.is_file():
        raise WeightsMissing(f"there is no weights file {path}")
    try:
        with safe_open(path, "pt") as file:
            told: dict[str, Any] = json.loads((file.metadata() or {})[TOLD])
            tensors = dequantized({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        weights = {name: Weights(**values) for name, values in told["weights"].items()}
        towers = Towers(Shape(**told["shape"]), weights, told["known"], told["mapped"], tells)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsCorrupt(f"{path} holds no towers: {error}") from error
    try:
        towers.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointMismatch(f"{path} holds no towers: {' '.join(str(error).split())}") from error
    if classes is not None:
        towers.get_buffer("classes").copy_(_load_classes(classes))
    return towers.eval().requires_grad_(False)


def _load_classes(path: Path) -> Tensor:
    try:
        classes = dequantized(load_file(path))["classes"]
    except (OSError, SafetensorError, KeyError) as error:
        raise WeightsCorrupt(f"{path} holds no sentences of classes: {error}") from error
    if classes.shape != (CLASSES, WIDTH):
        raise WeightsCorrupt(f"{path} has classes of shape {tuple(classes.shape)}; they are ({CLASSES}, {WIDTH})")
    return classes


def _of_kind(rows: Tensor, means: Tensor, far: float, near: float) -> tuple[Tensor, Tensor]:
    """The membership of rows (B, d) in the nearest of some kinds, 0 to 1 (B, 1), and the number of that kind (B,)."""
    cosines, nearest = (F.normalize(rows, dim=1) @ F.normalize(means, dim=1).T).max(dim=1)
    return ((cosines - far) / (near - far)).clamp(0, 1)[:, None], nearest


def _unit(blocks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: F.normalize(rows, dim=1) for name, rows in blocks.items()}
