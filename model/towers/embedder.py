"""The towers' space as an `Embedder`: photos, drawings, maps and captions in one space of unit vectors."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from model.encoders.conse import class_sentences, conse
from model.encoders.efficientnet import EfficientNetLite0, load_efficientnet
from model.encoders.minilm import MiniLM, TextStates, load_minilm
from model.encoders.preprocess import VERSION, encoder_input, looked_at
from model.encoders.pull import check_encoders, encoders_digest
from model.errors import UnsupportedModality
from model.files import file_digest
from model.modalities.drawings import ByteArray
from model.modalities.formats.spans import FormatInvalid
from model.modalities.registry import MODALITIES
from model.modalities.values import check_value
from model.seam import EmbeddingSpace, FloatArray, Fusion, Sample
from model.towers.looks import parts_of
from model.towers.space import FILE, Seen, Towers, load_towers
from model.vector_prediction import PredictsVectors

SPACE = "photo_global"
PHOTO, CAPTION = "rgb", "caption"
CONSE_TEMPERATURE = 3.0
_AT_ONCE, _TEXTS_AT_ONCE = 4, 64
_KEPT = 256  # pictures; 21 KB each


class Looker:
    """Both encoders: what the towers see of values."""

    def __init__(self, image_encoder: EfficientNetLite0, text_encoder: MiniLM) -> None:
        self._eye, self._reader = image_encoder, text_encoder
        self._known: OrderedDict[bytes, tuple[Tensor, ...]] = OrderedDict()
        names = class_sentences()
        starts = range(0, len(names), _TEXTS_AT_ONCE)
        with torch.inference_mode():
            self._classes = torch.cat([self.read(names[start : start + _TEXTS_AT_ONCE]) for start in starts])

    def see(self, pixels: Sequence[ByteArray]) -> Seen:
        """n pictures uint8 (224, 224, 3), n >= 1. None of the last 256 is encoded again."""
        keys = [hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in pixels]
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        rows = list(new.values())
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            found = self._see([pixels[row] for row in some])
            for row, *parts in zip(some, *found, strict=True):
                self._known[keys[row]] = tuple(parts)
        known = [self._known[key] for key in keys]
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return Seen(*(torch.stack(parts) for parts in zip(*known, strict=True)))

    def _see(self, pixels: Sequence[ByteArray]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        fine = self._eye.begin(encoder_input(pixels))
        parts = parts_of(fine)
        found = self._eye.finish(fine)
        return found.pooled, found.grid.amax(dim=(2, 3)), parts, photo_words(found.logits, self._classes)

    def read(self, texts: Sequence[str]) -> Tensor:
        """n texts as unit vectors (n, 384), n >= 1."""
        read: TextStates = self._reader(list(texts))
        return read.pooled


class TowersEmbedder(PredictsVectors):
    """Implements `model.seam.Embedder` with one space; safe for several threads."""

    fusion = Fusion.LATE

    def __init__(self, name: str, fingerprint: str, towers: Towers, looker: Looker) -> None:
        self.name, self.fingerprint = name, fingerprint
        self.modalities = frozenset(towers.weights)
        prior = towers.get_buffer("prior").numpy()
        self.spaces: Mapping[str, EmbeddingSpace] = {SPACE: EmbeddingSpace(SPACE, len(prior), fingerprint, prior)}
        self._towers, self._looker = towers, looker
        self._lock = threading.Lock()

    def default_space(self, modality: str) -> str:
        """The only space. Raises `UnsupportedModality`."""
        self._check_taken([modality])
        return SPACE

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed`. The parts of a sample add up. Rows are centred already, by modality."""
        return self._all(samples, spaces, gallery=False)

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed_gallery`: a photo's own blocks, with its caption's words added to the photo's.

        An entry without a photo is stored as its query would be.
        """
        return self._all(samples, spaces, gallery=True)

    def _all(self, samples: Sequence[Sample], spaces: Sequence[str], gallery: bool) -> dict[str, FloatArray]:
        for space in spaces:
            self.spaces[space]
        for sample in samples:
            self._check(sample)
        rows = torch.zeros(len(samples), self.spaces[SPACE].dimension)
        if samples:
            with self._lock, torch.inference_mode():
                rows = self._embedded(samples, gallery)
        return {space: cast(FloatArray, rows.numpy().copy()) for space in spaces}

    def _check(self, sample: Sample) -> None:
        self._check_taken(sample.values)
        if not sample.values:
            raise FormatInvalid(f"the model {self.name} was given a sample without any modality")
        for modality, value in sample.values.items():
            check_value(MODALITIES[modality], value)

    def _check_taken(self, given: Sequence[str] | Mapping[str, object]) -> None:
        for modality in given:
            if modality not in self.modalities:
                known = ", ".join(sorted(self.modalities))
                raise UnsupportedModality(f"the model {self.name} does not take {modality}; it takes {known}")

    def _embedded(self, samples: Sequence[Sample], gallery: bool) -> Tensor:
        """Unit rows (n, d)."""
        total = torch.zeros(len(samples), self.spaces[SPACE].dimension)
        photos = {row for row, sample in enumerate(samples) if gallery and PHOTO in sample.values}
        for modality in sorted({name for sample in samples for name in sample.values}):
            places = [row for row, sample in enumerate(samples) if modality in sample.values]
            blocks = self._blocks(modality, [samples[row] for row in places])
            asking, stored = self._towers.query(modality, blocks), self._towers.item(blocks)
            for number, row in enumerate(places):
                if row not in photos:
                    total[row] += asking[number]
                elif modality in (PHOTO, CAPTION):
                    total[row] += stored[number]
        return F.normalize(total, dim=1)

    def _blocks(self, modality: str, samples: Sequence[Sample]) -> dict[str, Tensor]:
        values = [sample.values[modality] for sample in samples]
        if modality == CAPTION:
            texts = [cast(str, value) for value in values]
            starts = range(0, len(texts), _TEXTS_AT_ONCE)
            return self._towers.captions(
                torch.cat([self._looker.read(texts[start : start + _TEXTS_AT_ONCE]) for start in starts])
            )
        seen = self._looker.see([looked_at(modality, value) for value in values])
        return self._towers.photos(seen) if modality == PHOTO else self._towers.rendered(modality, seen)


def photo_words(logits: Tensor, classes: Tensor) -> Tensor:
    """ConSE's vectors at the temperature that finds most: logits (B, 1000) -> unit (B, 384)."""
    return conse(logits, classes, CONSE_TEMPERATURE)


def load_towers_embedder(name: str, home: Path, folder: Path) -> TowersEmbedder:
    """Load the towers from a folder, with the encoders below `home`.

    Raises `WeightsMissing`, `WeightsCorrupt`, `CheckpointMismatch`.
    """
    towers = load_towers(folder / FILE)
    encoders = check_encoders(home)
    looker = Looker(
        load_efficientnet(encoders / "efficientnet-lite0.safetensors"),
        load_minilm(encoders / "minilm-l6.safetensors", encoders / "minilm-l6.tokenizer.json"),
    )
    told = f"{file_digest(folder / FILE)} {encoders_digest()} preprocessing {VERSION}"
    return TowersEmbedder(name, hashlib.sha256(told.encode()).hexdigest(), towers, looker)
