"""The bundled 4M networks as an `Embedder`: specialist encoders, network, soft-decoded codes, one vector a space.

A query vector is the network's prediction plus what fixed linear shortcuts say about the input's own encoder vectors:
a residual, so the network only has to say what these lack. The shortcuts, the means of query vectors and the
gallery's prior mean are constants of the space and part of the fingerprint.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.bundle import Bundle, load_bundle
from model.drawing import ByteArray
from model.embedder import Embedder, EmbeddingSpace, FloatArray, Sample, UnsupportedModality
from model.encoders.efficientnet import IMAGE_SIZE, EfficientNetLite0, load_efficientnet
from model.encoders.minilm import MiniLM, load_minilm
from model.formats.color_palette import LONGEST, palette_ids, stripes
from model.hub import check_encoders
from model.preprocess import drawing_pixels, encoder_input, picture_pixels
from model.shortcuts import INPUTS
from model.tiny import CAPTION, DRAWING, LONGEST_CAPTION, PALETTE, PICTURE, SEMANTIC, VISUAL
from model.tokens import ModalityInput

_BATCH = 16
_PICTURES_AT_ONCE = 4  # on a CPU the image encoder is fastest while its maps fit the cache
_MAPS = {"rgb": PICTURE, "canny_edge": DRAWING}


@dataclass(frozen=True)
class _Encoded:
    """What the encoders make of B samples.

    `inputs` for the network; `own` unit vectors by modality, zero rows where a sample lacks it: `rgb` and `canny_edge`
    float32 (B, 1280), `caption` float32 (B, 384), `color_palette` float32 (B, 1280) where any sample has one.
    """

    inputs: dict[str, ModalityInput]
    own: dict[str, Tensor]


class FourMEmbedder:
    """Implements `model.embedder.Embedder` with a 4M network and its encoders; safe to use from several threads."""

    modalities = frozenset({"rgb", "caption", "canny_edge", "color_palette"})

    def __init__(self, bundle: Bundle, image_encoder: EfficientNetLite0, text_encoder: MiniLM) -> None:
        self.name = bundle.name
        self.fingerprint = bundle.fingerprint
        self.spaces: Mapping[str, EmbeddingSpace] = bundle.spaces
        self._bundle, self._image_encoder, self._text_encoder = bundle, image_encoder, text_encoder
        self._lock = threading.Lock()

    def default_space(self, modality: str) -> str:
        """See `Embedder.default_space`. Raises `UnsupportedModality`."""
        self._check([modality])
        return self._bundle.default_spaces[modality]

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed`."""
        return self._run(samples, spaces, gallery=False)

    def embed_gallery(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        """See `Embedder.embed_gallery`: in a space whose gallery is `exact`, a picture's own encoder vector."""
        return self._run(samples, spaces, gallery=True)

    def _run(self, samples: Sequence[Sample], spaces: Sequence[str], gallery: bool) -> dict[str, FloatArray]:
        for space in spaces:
            self.spaces[space]
        for sample in samples:
            self._check(sample.values)
        rows: dict[str, list[FloatArray]] = {space: [] for space in spaces}
        for start in range(0, len(samples), _BATCH):
            with self._lock, torch.inference_mode():
                found = self._forward(samples[start : start + _BATCH], spaces, gallery)
            for space in spaces:
                rows[space].append(found[space].numpy())
        return {
            space: np.concatenate([np.zeros((0, self.spaces[space].dimension), np.float32), *rows[space]])
            for space in spaces
        }

    def _check(self, given: Sequence[str] | Mapping[str, object]) -> None:
        for modality in given:
            if modality not in self.modalities:
                known = ", ".join(sorted(self.modalities))
                raise UnsupportedModality(f"the model {self.name} does not take {modality}; it takes {known}")

    def _forward(self, samples: Sequence[Sample], spaces: Sequence[str], gallery: bool) -> dict[str, Tensor]:
        """Unit vectors of at most 16 samples."""
        encoded = self._encode(samples)
        context = self._bundle.network.encode(encoded.inputs)
        logits = self._bundle.network.decode_global(context, list(spaces)) if spaces else {}
        vectors = {}
        for space in spaces:
            probabilities = logits[space].softmax(dim=2)
            decoded = F.normalize(self._bundle.tokenizers[space].decode_probabilities(probabilities), dim=1)
            vectors[space] = F.normalize(decoded + self._bundle.shortcuts(encoded.own, space), dim=1)
            if gallery and self._bundle.gallery[space] == "exact":
                exact = encoded.own["rgb"]
                vectors[space] = torch.where(exact.any(dim=1, keepdim=True), exact, vectors[space])
        return vectors

    def _encode(self, samples: Sequence[Sample]) -> _Encoded:
        inputs, own = {}, {}
        for modality, key in _MAPS.items():
            maps, own[modality], present = self._pictures(samples, modality)
            if present.any():
                inputs[key] = ModalityInput(maps, (~present)[:, None].expand(-1, maps.shape[2] * maps.shape[3]))
        own["caption"] = torch.zeros(len(samples), self.spaces[SEMANTIC].dimension)
        if any("caption" in sample.values for sample in samples):
            inputs[CAPTION], own["caption"] = self._captions(samples)
        if any("color_palette" in sample.values for sample in samples):
            inputs[PALETTE], own["color_palette"] = self._palettes(samples)
        return _Encoded(inputs, own)

    def _pictures(self, samples: Sequence[Sample], modality: str) -> tuple[Tensor, Tensor, Tensor]:
        """Maps (B, 256, 7, 7), unit pooled vectors (B, 1280), which samples have the modality (B,)."""
        to_pixels = {"rgb": picture_pixels, "canny_edge": drawing_pixels}[modality]
        present = [n for n, sample in enumerate(samples) if modality in sample.values]
        maps = torch.zeros(len(samples), *self._bundle.map_shape)
        own = torch.zeros(len(samples), self.spaces[VISUAL].dimension)
        for start in range(0, len(present), _PICTURES_AT_ONCE):
            places = present[start : start + _PICTURES_AT_ONCE]
            pixels = [to_pixels(cast(ByteArray, samples[n].values[modality])) for n in places]
            features = self._image_encoder(encoder_input(pixels))
            maps[places] = self._bundle.projection(features.grid)
            own[places] = F.normalize(features.pooled, dim=1)
        return maps, own, torch.tensor([n in present for n in range(len(samples))])

    def _palettes(self, samples: Sequence[Sample]) -> tuple[ModalityInput, Tensor]:
        """Ids for the network and unit vectors (B, 1280) of palettes as stripes, zero for samples without palette."""
        ids = torch.zeros(len(samples), LONGEST, dtype=torch.int64)
        unused = torch.ones(len(samples), LONGEST, dtype=torch.bool)
        own = torch.zeros(len(samples), INPUTS["color_palette"])
        for n, sample in enumerate(samples):
            if "color_palette" in sample.values:
                colours = cast(ByteArray, sample.values["color_palette"])
                found = palette_ids(colours)
                ids[n, : len(found)] = torch.tensor(found)
                unused[n, : len(found)] = False
                own[n] = F.normalize(
                    self._image_encoder(encoder_input([stripes(colours, IMAGE_SIZE)])).pooled[0], dim=0
                )
        return ModalityInput(ids, unused), own

    def _captions(self, samples: Sequence[Sample]) -> tuple[ModalityInput, Tensor]:
        """Token states for the network, sentence vectors (B, 384) that are zero for samples without caption."""
        present = torch.tensor(["caption" in sample.values for sample in samples])
        encoded = self._text_encoder([cast(str, sample.values.get("caption", "")) for sample in samples])
        unused = encoded.unused | ~present[:, None]
        states = ModalityInput(encoded.states[:, :LONGEST_CAPTION], unused[:, :LONGEST_CAPTION])
        return states, encoded.pooled * present[:, None]


def load_fourm_embedder(name: str, home: Path) -> Embedder:
    """The bundled model `name` with the encoders pulled below `home`.

    Raises `UnknownModel`, `WeightsMissing` (also for encoders not pulled yet, naming the command) and `WeightsCorrupt`.
    """
    bundle = load_bundle(name)
    folder = check_encoders(home)
    image_encoder = load_efficientnet(folder / "efficientnet-lite0.safetensors")
    text_encoder = load_minilm(folder / "minilm-l6.safetensors", folder / "minilm-l6.tokenizer.json")
    return FourMEmbedder(bundle, image_encoder, text_encoder)
