"""Retrieval by the specialist encoders alone: the baselines that `anyseek eval` prints beside the model."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from anyseek.model.encoders.efficientnet import ImageEncoder, class_sentences, conse
from anyseek.model.encoders.fused import load_fastest
from anyseek.model.encoders.minilm import load_minilm
from anyseek.model.encoders.preprocess import VERSION, encoder_input, picture_pixels
from anyseek.model.encoders.pull import check_encoders, encoders_digest
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.network.packing import pack_linears
from anyseek.model.seam import FloatArray

_PICTURES_AT_ONCE, _TEXTS_AT_ONCE = 2, 64


class Encoders:
    """The two encoders as functions from pictures and texts to unit vectors."""

    def __init__(self, home: Path) -> None:
        """Load them from below `home`. Raises `WeightsMissing`, `WeightsCorrupt`."""
        folder = check_encoders(home)
        self._image: ImageEncoder = load_fastest(folder / "efficientnet-lite0.safetensors")
        self._text = load_minilm(folder / "minilm-l6.safetensors", folder / "minilm-l6.tokenizer.json")
        pack_linears(self._text)

    @property
    def fingerprint(self) -> str:
        """sha256 over the encoders and the preprocessing of pictures."""
        return hashlib.sha256(f"{encoders_digest()} preprocessing {VERSION}".encode()).hexdigest()

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[ByteArray]) -> tuple[FloatArray, FloatArray]:
        """n pictures uint8 (H, W, 3) -> unit vectors (n, 1280) and class logits (n, 1000)."""
        pooled, logits = [], []
        for start in range(0, len(pictures), _PICTURES_AT_ONCE):
            batch = [picture_pixels(picture) for picture in pictures[start : start + _PICTURES_AT_ONCE]]
            features = self._image(encoder_input(batch))
            pooled.append(F.normalize(features.pooled, dim=1).cpu().numpy())
            logits.append(features.logits.cpu().numpy())
        return np.concatenate(pooled), np.concatenate(logits)

    @torch.inference_mode()
    def sentences(self, texts: Sequence[str]) -> FloatArray:
        """n texts -> unit sentence vectors (n, 384)."""
        starts = range(0, len(texts), _TEXTS_AT_ONCE)
        return np.concatenate([self._text(texts[start : start + _TEXTS_AT_ONCE]).pooled.numpy() for start in starts])

    def conse(self, logits: FloatArray) -> FloatArray:
        """Class logits (n, 1000) -> sentence-space unit vectors (n, 384), without any caption."""
        return conse(torch.from_numpy(logits), self._classes).numpy()

    @cached_property
    def _classes(self) -> torch.Tensor:
        return torch.from_numpy(self.sentences(class_sentences()))
