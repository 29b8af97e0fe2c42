"""Vectors of a set: of the bundled models, and of their encoders without any training.

All come from one pass of the encoders, which the models share.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from anyseek.model.encoders.fused import load_fastest
from anyseek.model.encoders.minilm import load_minilm
from anyseek.model.encoders.preprocess import encoder_input, render_for_encoder
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.fourm.bundled.bundle import load_bundle
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import EmbeddingSpace, FloatArray, Value
from anyseek.model.towers.space import places_vectors, whole_vectors
from anyseek.search.query.vectors import centre_queries
from benchmarks.sources.sets import CAPTION, Read, SourceSet

PHOTO = "rgb"
WHOLE, PLACES, LOGITS, TEXT = "whole", "places", "logits", "text"
_VALUES, _PICTURES = 64, 4  # read together, and passed through the image encoder together
_Thing = TypeVar("_Thing")
Vectors = Mapping[str, FloatArray]
Sides = Mapping[str, Vectors]


class Vectorizer:
    """The encoders, and the spaces of bundled models for photos, by name."""

    def __init__(self, home: Path, models: Sequence[str]) -> None:
        """Load them, the encoders from below `home`. Raises `WeightsMissing`, `WeightsCorrupt`."""
        folder = check_encoders(home)
        self._image = load_fastest(folder / "efficientnet-lite0.safetensors")
        self._text = load_minilm(folder / "minilm-l6.safetensors", folder / "minilm-l6.tokenizer.json")
        spaces = {name: load_bundle(name).towers_space for name in models}
        self._spaces = {name: space for name, space in spaces.items() if space is not None}

    @property
    def spaces(self) -> dict[str, EmbeddingSpace]:
        return {name: towers_space.space for name, towers_space in self._spaces.items()}

    def sides(self, of: SourceSet, cache: Path | None) -> Sides:
        """The vectors of `photos`, `test` and `others`, by model or as `encode` names them.

        Queries of models are centred, photos are not. With a folder `cache` they are read from there, or written to it.
        """
        reads = {"photos": of.photos, "test": [query.read for query in of.test]}
        reads |= {"others": [query.read for query in of.others]} if of.others else {}
        return {
            side: self._cached(None if cache is None else cache / f"{of.name} {side}.safetensors", modality, own)
            for side, own in reads.items()
            for modality in [PHOTO if side == "photos" else of.modality]
        }

    def _cached(self, path: Path | None, modality: str, reads: Sequence[Read]) -> Vectors:
        if path is not None and path.is_file():
            return load_file(path)
        batches = [self.encode(modality, [read() for read in some]) for some in _batches(reads, _VALUES)]
        vectors = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        if path is not None:
            save_file(vectors, path)
        return vectors

    @torch.inference_mode()
    def encode(self, modality: str, values: Sequence[Value]) -> dict[str, FloatArray]:
        """The models' vectors; of captions also `TEXT` (n, 384), of all else `WHOLE`, `PLACES` and `LOGITS`.

        These have 1,280, 1,792 and 1,000 numbers.
        """
        if modality == CAPTION:
            vectors = self._read([str(value) for value in values])
        else:
            looks = [render_for_encoder(modality, value) for value in values]
            batches = [self._see(modality, some) for some in _batches(looks, _PICTURES)]
            vectors = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
        rows = {name: each.numpy() for name, each in vectors.items()}
        if modality == PHOTO:
            return rows
        return rows | {name: centre_queries(space, [modality], rows[name]) for name, space in self.spaces.items()}

    def _read(self, texts: Sequence[str]) -> dict[str, Tensor]:
        pooled = self._text(texts).pooled
        models = {name: each.towers.vectors({}, pooled, False) for name, each in self._spaces.items()}
        return {TEXT: pooled, **models}

    def _see(self, modality: str, looks: Sequence[ByteArray]) -> dict[str, Tensor]:
        features = self._image(encoder_input(looks))
        vectors = {
            WHOLE: whole_vectors(features.pooled),
            PLACES: places_vectors(features.parts),
            LOGITS: features.logits,
        }
        for name, each in self._spaces.items():
            inputs = {modality: each.towers.tower_input(features, [modality] * len(looks))}
            vectors[name] = each.towers.vectors(inputs, None, modality == PHOTO)
        return vectors


def _batches(things: Sequence[_Thing], size: int) -> Iterator[Sequence[_Thing]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
