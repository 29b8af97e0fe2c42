"""The bundled 4M networks as an `Embedder`: specialist encoders, network, soft-decoded codes, one vector a space.

A query vector is the network's prediction plus what fixed linear shortcuts say about the input's own encoder vectors:
a residual, so the network only has to say what these lack. The shortcuts, the means of query vectors and the
gallery's prior mean are constants of the space and part of the fingerprint.
"""

import threading
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.bundle import Bundle, load_bundle
from model.embedder import Decoding, EmbeddingSpace, FloatArray, Sample, UnsupportedModality
from model.encoders.efficientnet import EfficientNetLite0, load_efficientnet
from model.encoders.minilm import MiniLM, load_minilm
from model.formats.spans import FormatInvalid
from model.hub import check_encoders
from model.modality import MODALITIES
from model.tiny_inputs import SampleEncoder
from model.tokens import ModalityInput
from model.values import check_value

_BATCH = 16


class FourMEmbedder:
    """Implements `model.embedder.CodeEmbedder` with a 4M network and its encoders; safe for several threads."""

    decoding = Decoding.SOFT

    def __init__(self, bundle: Bundle, image_encoder: EfficientNetLite0, text_encoder: MiniLM) -> None:
        self.name = bundle.name
        self.fingerprint = bundle.fingerprint
        self.fusion = bundle.fusion
        self.modalities = frozenset(bundle.inputs)
        self.spaces: Mapping[str, EmbeddingSpace] = bundle.spaces
        self.bundle = bundle
        self.encoder = SampleEncoder(bundle, image_encoder, text_encoder)
        self._lock = threading.Lock()

    def default_space(self, modality: str) -> str:
        """See `Embedder.default_space`. Raises `UnsupportedModality`."""
        self._check_taken([modality])
        return self.bundle.default_spaces[modality]

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed`."""
        return self._run(samples, spaces, (self.decoding,), gallery=False)[self.decoding]

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed_gallery`: in a space whose gallery is `exact`, a picture's own encoder vector."""
        return self._run(samples, spaces, (self.decoding,), gallery=True)[self.decoding]

    def embed_decoded(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[Decoding, dict[str, FloatArray]]:
        """See `CodeEmbedder.embed_decoded`."""
        return self._run(samples, spaces, tuple(Decoding), gallery=False)

    def through_codes(self, vectors: FloatArray, space: str) -> FloatArray:
        """See `CodedSpaces.through_codes`."""
        tokenizer = self.bundle.tokenizers[space]
        with torch.inference_mode():
            decoded = tokenizer.decode_tokens(tokenizer.encode(torch.from_numpy(vectors)))
            return cast(FloatArray, F.normalize(decoded, dim=1).numpy())

    def network_inputs(self, sample: Sample) -> dict[str, ModalityInput]:
        """A batch of one sample as the network takes it, by the network's keys. Raises as `embed`."""
        self._check(sample)
        with self._lock, torch.inference_mode():
            return self.encoder.encode([sample]).inputs

    def _run(
        self, samples: Sequence[Sample], spaces: Sequence[str], decodings: Sequence[Decoding], gallery: bool
    ) -> dict[Decoding, dict[str, FloatArray]]:
        for space in spaces:
            self.spaces[space]
        for sample in samples:
            self._check(sample)
        none = {space: np.zeros((0, self.spaces[space].dimension), np.float32) for space in spaces}
        rows = {(decoding, space): [none[space]] for decoding in decodings for space in spaces}
        for start in range(0, len(samples), _BATCH):
            with self._lock, torch.inference_mode():
                found = self._forward(samples[start : start + _BATCH], spaces, decodings, gallery)
            for key, vectors in found.items():
                rows[key].append(vectors.numpy())
        return {decoding: {space: np.concatenate(rows[decoding, space]) for space in spaces} for decoding in decodings}

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

    def _forward(
        self, samples: Sequence[Sample], spaces: Sequence[str], decodings: Sequence[Decoding], gallery: bool
    ) -> dict[tuple[Decoding, str], Tensor]:
        """Unit vectors of at most 16 samples."""
        encoded = self.encoder.encode(samples)
        context = self.bundle.network.encode(encoded.inputs)
        logits = self.bundle.network.decode_global(context, list(spaces)) if spaces else {}
        vectors = {}
        for decoding, space in product(decodings, spaces):
            found = F.normalize(self._decoded(logits[space], space, decoding), dim=1)
            if encoded.own:
                found = F.normalize(found + self.bundle.shortcuts(encoded.own, space), dim=1)
            if gallery and self.bundle.gallery[space] == "exact" and "rgb" in encoded.own:
                exact = encoded.own["rgb"]
                found = torch.where(exact.any(dim=1, keepdim=True), exact, found)
            vectors[decoding, space] = found
        return vectors

    def _decoded(self, logits: Tensor, space: str, decoding: Decoding) -> Tensor:
        """Logits of codes (B, 16, K) as vectors (B, d) of any length."""
        tokenizer = self.bundle.tokenizers[space]
        if decoding is Decoding.HARD:
            return tokenizer.decode_tokens(logits.argmax(dim=2))
        return tokenizer.decode_probabilities(logits.softmax(dim=2))


def load_fourm_embedder(name: str, home: Path, folder: Path | None = None) -> FourMEmbedder:
    """The bundled model `name` with the encoders pulled below `home`; `folder` as for `load_bundle`.

    Raises `UnknownModel`, `WeightsMissing` (also for encoders not pulled yet, naming the command), `WeightsCorrupt`,
    `ConfigInvalid` and `CheckpointMismatch`.
    """
    bundle = load_bundle(name, folder)
    encoders = check_encoders(home)
    image_encoder = load_efficientnet(encoders / "efficientnet-lite0.safetensors")
    text_encoder = load_minilm(encoders / "minilm-l6.safetensors", encoders / "minilm-l6.tokenizer.json")
    return FourMEmbedder(bundle, image_encoder, text_encoder)
