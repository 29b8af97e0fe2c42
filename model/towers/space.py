"""One space for photos and all queries for them: untrained visual features, and the outputs of two small towers.

A vector has four blocks, each centred and scaled to length 1 before it is weighted, so that one cosine is a weighted
sum of four: the *looks* `whole` and `places`, `words` (MiniLM's sentence vector of a caption, ConSE's of a photo), and
`learned` (a tower for photos and one for captions, trained contrastively). A photo has all four with equal weights. A
query has the blocks of its modality, weighted by `weights`. The weights were chosen on held-out sources, and the
untrained blocks stay in the sum, so that no result is worse than without training.

Before comparison, the look of a drawing or map is centred on the nearest mean of its modality. There is one mean per
training source, because renderings of different origin scatter around different means. If `mapped` has the modality, a
linear map's prediction of the photo's whole look is added to the look of the drawing or map.

Some sources are of one *kind*: their captions are all alike, such as lists of the furniture of rendered rooms. A
caption is centred on the mean of a kind in proportion to its membership, as centring removes meaning from others.

A reader of drawings (`anyseek.model.towers.drawings`) gives a drawing the blocks of a caption too, of the words for
what it shows.

Besides ConSE's words, a photo may have those that a linear map predicts from its pooled vector. The map comes from the
network of the bundle and covers the pictures that this network was trained on, which ConSE's
classes do not. It is weighted by the photo's membership in a kind; it made the words of other photos worse.

B samples.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from anyseek.model.checkpoints.quantized import dequantize
from anyseek.model.encoders.efficientnet import CHANNELS, CLASSES, FINE_CHANNELS, PARTS, Features, conse
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.towers.drawings import DrawingReader

_POWER = 0.35
_SPREAD_OFFSET = 1.0  # keeps channels with little variation over the parts from being amplified


def whole_vectors(pooled: Tensor) -> Tensor:
    """Pooled features (B, 1280), 0 or more -> unit float32 (B, 1280)."""
    return F.normalize(pooled.float().clamp(min=0) ** _POWER, dim=1)


def places_vectors(parts: Tensor) -> Tensor:
    """`Features.parts` (B, C, 4, 4), each channel standardised over the parts -> unit float32 (B, 16 C)."""
    centred = parts.float() - parts.float().mean(dim=(2, 3), keepdim=True)
    spread = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return F.normalize((centred / (spread + _SPREAD_OFFSET)).flatten(1), dim=1)


FILE = "towers.safetensors"
CLASSES_FILE = "classes.safetensors"
METADATA_KEY = "towers"  # in the file's metadata
PHOTO, CAPTION, DRAWING = "rgb", "caption", "canny_edge"
CONSE_TEMPERATURE = 3.0  # chosen on held-out sources
WHOLE, PLACES, WORDS, LEARNED = "whole", "places", "words", "learned"
_MEANS_OF = {PHOTO: (WHOLE,), CAPTION: (WORDS, LEARNED)}  # of the kinds; of other modalities both looks
_PLACES = FINE_CHANNELS * PARTS * PARTS
_PEAK_POWER = 0.7
# The weights of parts beside others in late fusion. Over a gallery, cosines of captions spread twice as far as those of
# maps, and the right item stands out less: the mean of its cosine over the variance of all is 8 to 24 for captions, and
# 98 to 180 for maps (docs/weights.md). Cosines of pictures and items ("") spread 2.5 times as far as those of captions,
# which would hardly count beside them (docs/weights.md has what other weights find).
SHARES = {
    **{name: {CAPTION: 0.15} for name in ("depth", "normal", "semseg")},
    CAPTION: {PHOTO: 0.4, "": 0.4},
}
# Ranges of cosines to a kind's mean over which membership rises from 0 to 1, for looks and for captions. Everyday
# captions of kitchens reach 0.5 with lists of furniture.
_PHOTO_KIND_RANGE, _CAPTION_KIND_RANGE = (0.35, 0.55), (0.5, 0.65)


@dataclass(frozen=True)
class Weights:
    """The weight of each block of a query."""

    whole: float = 0.0
    places: float = 0.0
    words: float = 0.0
    learned: float = 0.0


@dataclass(frozen=True)
class Shape:
    """Widths of the blocks (`looks`, `learned`), of the photo tower's visual input (`seen`), and of the hidden layer.

    `told` is the number of axes of the mapped words that the photo tower sees, 0 without the network's linear map;
    `telling` is the weight of mapped words in the block `words`, relative to ConSE's.
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
class TowerInput:
    """The image encoder's output for B pictures: `pooled` and `peak` (B, 1280), `parts` (B, 112, 4, 4).

    `words` (B, 384) is their ConSE vector; of drawings that a reader has read, their words as it weighs them.
    """

    pooled: Tensor
    peak: Tensor
    parts: Tensor
    words: Tensor

    def select(self, rows: Tensor | slice) -> "TowerInput":
        """The rows int64 (b,), or a slice."""
        return TowerInput(*(part[rows] for part in (self.pooled, self.peak, self.parts, self.words)))


class Tower(nn.Module):
    """A hidden layer with a linear skip connection: (B, width_in) -> unit (B, width_out)."""

    def __init__(self, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(width_in, hidden), nn.Linear(hidden, width_out)
        self.straight = nn.Linear(width_in, width_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.narrow(F.gelu(self.wide(x))) + self.straight(x), dim=1)


class Projection(nn.Module):
    """Centres rows and projects them onto axes: (B, width_in) -> (B, width_out)."""

    mean: Tensor
    axes: Tensor

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width_in))
        self.register_buffer("axes", torch.zeros(width_in, width_out))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) @ self.axes


class Towers(nn.Module):
    """The towers, which compute vectors of their space.

    `known` is the number of means of each visual modality, one per training source, and of the kinds of captions and of
    their photos; `mapped` is the weight of a modality's linear map relative to the look itself. The buffer `classes`
    (1000, 384), the sentence vectors of ConSE's classes, is shared by all towers and stored in a separate file, and so
    is the reader of drawings.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Mapping[str, Weights],
        known: Mapping[str, int],
        mapped: Mapping[str, float],
        sentence_map: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.reader: DrawingReader | None = None
        self._sentence_map = sentence_map
        self.shape, self.weights = shape, dict(weights)
        self.known, self.mapped = dict(known), dict(mapped)
        self.whole, self.places = Projection(CHANNELS, shape.looks), Projection(_PLACES, shape.looks)
        self.seen = Projection(2 * CHANNELS, shape.seen)
        if shape.told:
            self.told = Projection(WIDTH, shape.told)
        self.photo = Tower(shape.seen + WIDTH + shape.told, shape.hidden, shape.learned)
        self.caption = Tower(WIDTH, shape.hidden, shape.learned)
        self.register_buffer("classes", torch.zeros(CLASSES, WIDTH), persistent=False)
        # The means of ConSE's vectors, of both towers' outputs, and of whole photo vectors.
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

    def set_reader(self, reader: DrawingReader) -> None:
        """Give drawings words."""
        self.reader = reader
        words, learned = reader.settings.words, reader.settings.learned
        self.weights[DRAWING] = replace(self.weights[DRAWING], words=words, learned=learned)

    def tower_input(self, features: Features, modalities: Sequence[str] = ()) -> TowerInput:
        """The towers' inputs from the encoder's output for B pictures of these modalities, photos if there are none."""
        words = conse(features.logits, self.get_buffer("classes"), CONSE_TEMPERATURE)
        drawn = [row for row, name in enumerate(modalities) if name == DRAWING]
        if self.reader is not None and drawn:
            words[drawn] = self.reader.weighted_words(features.coarse[drawn], whole_vectors(features.pooled[drawn]))
        return TowerInput(features.pooled, features.grid.amax(dim=(2, 3)), features.parts, words)

    def vectors(self, inputs: Mapping[str, TowerInput], texts: Tensor | None, gallery: bool) -> Tensor:
        """Unit vectors (B, d) of B samples, summed over their modalities.

        `inputs` are visual modalities and `texts` (B, 384) vectors of captions, both zero for samples without them. In
        a gallery a photo is stored with equal weights, plus its caption's words and nothing else.
        """
        # Absent rows are computed as well and masked later: selecting the present ones would synchronise with a GPU.
        present = {name: entry.pooled.any(dim=1, keepdim=True) for name, entry in inputs.items()}
        blocks = {
            name: self.photo_blocks(entry) if name == PHOTO else self.rendered_blocks(name, entry)
            for name, entry in inputs.items()
        }
        if texts is not None:
            present[CAPTION], blocks[CAPTION] = texts.any(dim=1, keepdim=True), self.caption_blocks(texts)
        rows = []
        for name in sorted(blocks):
            vectors, stored = self.query_vectors(name, blocks[name]), self.item_vectors(blocks[name])
            if gallery and PHOTO in present:
                with_photo = stored if name in (PHOTO, CAPTION) else torch.zeros_like(stored)
                vectors = torch.where(present[PHOTO], with_photo, vectors)
            rows.append(torch.where(present[name], vectors, 0.0))
        total = torch.stack(rows).sum(dim=0)
        return F.normalize(total, dim=1)

    def _photo_tower_input(self, inputs: TowerInput) -> Tensor:
        """The photo tower's input: (B, seen + 384 + told)."""
        peak = F.normalize(inputs.peak.float().clamp(min=0) ** _PEAK_POWER, dim=1)
        rows = torch.cat([whole_vectors(inputs.pooled), peak], dim=1)  # (B, 2560)
        parts = [self.seen(rows), inputs.words - self.get_buffer("words_mean")]
        if self.shape.told:
            parts.append(self._mapped_words(inputs) @ self.told.axes)
        return torch.cat(parts, dim=1)

    def _mapped_words(self, inputs: TowerInput) -> Tensor:
        """Centred words (B, 384) that the network's linear map predicts of photos, scaled by membership in a kind."""
        assert self._sentence_map is not None, "towers with mapped words are loaded with a sentence map"
        whole, kinds = self.whole(whole_vectors(inputs.pooled)), self.get_buffer(f"{WHOLE}_of_{PHOTO}")
        words = F.normalize(self._sentence_map(F.normalize(inputs.pooled.float(), dim=1)), dim=1)
        centred = F.normalize(words - self.told.mean, dim=1)
        return _kind_membership(whole, kinds, *_PHOTO_KIND_RANGE)[0] * centred

    def looks(self, inputs: TowerInput) -> tuple[Tensor, Tensor]:
        """Both looks of pictures, not centred by modality: two tensors (B, looks)."""
        return self.whole(whole_vectors(inputs.pooled)), self.places(places_vectors(inputs.parts))

    def photo_blocks(self, inputs: TowerInput) -> dict[str, Tensor]:
        """The blocks of photos, as unit vectors."""
        whole, places = self.looks(inputs)
        words = inputs.words - self.get_buffer("words_mean")
        if self.shape.told:
            words = F.normalize(words, dim=1) + self.shape.telling * self._mapped_words(inputs)
        learned = self.photo(self._photo_tower_input(inputs)) - self.get_buffer("photo_mean")
        return _normalise({WHOLE: whole, PLACES: places, WORDS: words, LEARNED: learned})

    def caption_blocks(self, vectors: Tensor) -> dict[str, Tensor]:
        """The blocks of captions from MiniLM's vectors (B, 384), centred in proportion to membership in a kind."""
        words, mean = vectors, self.get_buffer("caption_mean").expand(len(vectors), -1)
        if self.known.get(CAPTION):
            of_words, of_learned = (self.get_buffer(f"{block}_of_{CAPTION}") for block in (WORDS, LEARNED))
            share, nearest = _kind_membership(vectors, of_words, *_CAPTION_KIND_RANGE)
            words = words - share * of_words[nearest]
            mean = torch.lerp(mean, of_learned[nearest], share)
        return _normalise({WORDS: words, LEARNED: self.caption(vectors) - mean})

    def rendered_blocks(self, modality: str, inputs: TowerInput) -> dict[str, Tensor]:
        """The looks of drawings and maps, each centred on the nearest of its modality's means, and words of drawings.

        The words are as long as the reader weighs them.
        """
        blocks = dict(zip((WHOLE, PLACES), self.looks(inputs), strict=True))
        for block, rows in blocks.items():
            if self.known.get(modality):
                means = self.get_buffer(f"{block}_of_{modality}")
                blocks[block] = rows - means[torch.cdist(rows, means).argmin(dim=1)]
        if modality in self.mapped:
            predicted = F.normalize(blocks[WHOLE] @ self.get_buffer(f"map_of_{modality}"), dim=1)
            blocks[WHOLE] = F.normalize(blocks[WHOLE], dim=1) + self.mapped[modality] * predicted
        blocks = _normalise(blocks)
        if modality == DRAWING and self.reader is not None:
            lengths = inputs.words.norm(dim=1, keepdim=True)
            captions = self.caption_blocks(F.normalize(inputs.words, dim=1))
            blocks |= {name: lengths * rows for name, rows in captions.items()}
        return blocks

    def query_vectors(self, modality: str, blocks: Mapping[str, Tensor]) -> Tensor:
        """Vectors (B, d), of any length, from blocks with the modality's weights."""
        return self._concatenate(blocks, asdict(self.weights[modality]))

    def item_vectors(self, blocks: Mapping[str, Tensor]) -> Tensor:
        """Vectors (B, d), of any length, from blocks with equal weights."""
        return self._concatenate(blocks, dict.fromkeys((WHOLE, PLACES, WORDS, LEARNED), 1.0))

    def _concatenate(self, blocks: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        rows = next(iter(blocks.values()))
        parts = [
            blocks[name] * weights[name] if name in blocks else rows.new_zeros(len(rows), width)
            for name, width in zip((WHOLE, PLACES, WORDS, LEARNED), self.blocks, strict=True)
        ]
        return torch.cat(parts, dim=1)


def load_towers(
    path: Path, classes: Path | None = None, sentence_map: Callable[[Tensor], Tensor] | None = None
) -> Towers:
    """Load towers as float32, and the classes from the file `classes`; without these, photos have no words.

    `sentence_map` is the network's map from unit picture vectors (B, 1280) to words (B, 384), if the towers need it.
    Raises `WeightsMissing`, `WeightsCorrupt`, `CheckpointMismatch`.
    """
    if not path.is_file():
        raise WeightsMissing(f"there is no weights file {path}")
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, Any] = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = dequantize({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        weights = {name: Weights(**values) for name, values in metadata["weights"].items()}
        towers = Towers(Shape(**metadata["shape"]), weights, metadata["known"], metadata["mapped"], sentence_map)
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
        classes = dequantize(load_file(path))["classes"]
    except (OSError, SafetensorError, KeyError) as error:
        raise WeightsCorrupt(f"{path} holds no sentence vectors of classes: {error}") from error
    if classes.shape != (CLASSES, WIDTH):
        raise WeightsCorrupt(f"{path} has classes of shape {tuple(classes.shape)}; they are ({CLASSES}, {WIDTH})")
    return classes


def _kind_membership(rows: Tensor, means: Tensor, far: float, near: float) -> tuple[Tensor, Tensor]:
    """Membership (B, 1), 0 to 1, of rows (B, d) in the nearest kind, and the index of that kind (B,)."""
    cosines, nearest = (F.normalize(rows, dim=1) @ F.normalize(means, dim=1).T).max(dim=1)
    return ((cosines - far) / (near - far)).clamp(0, 1)[:, None], nearest


def _normalise(blocks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: F.normalize(rows, dim=1) for name, rows in blocks.items()}
