"""The file `drawings.safetensors` of a set of weights: a network that reads what a drawing shows.

It continues from a map of the image encoder with its own copy of the encoder's last blocks, trained on drawings. The
words are a vector in the space of the text encoder's sentences, so that a drawing has the blocks of a caption besides
its looks (`anyseek.model.towers.space`). Exact edges of a photo get none: they find their photo by where the lines are,
and a guess would only pull them away. B drawings, n names.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from anyseek.model.checkpoints.files import shapes_only
from anyseek.model.checkpoints.quantized import dequantize, quantize
from anyseek.model.encoders.efficientnet import CHANNELS, COARSE_BLOCKS, EfficientNetLite0
from anyseek.model.encoders.minilm import WIDTH
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt

FILE = "drawings.safetensors"
METADATA_KEY = "drawings"


@dataclass(frozen=True)
class ReaderSettings:
    """The `names` that a reader was trained with, and the weights of the blocks `words` and `learned` of a query."""

    names: tuple[str, ...]
    words: float = 0.75
    learned: float = 0.25


class DrawingReader(nn.Module):
    """Reads drawings. The buffer `sentences` (n, 384) are the sentence vectors of its names."""

    def __init__(self, settings: ReaderSettings) -> None:
        super().__init__()
        self.settings = settings
        encoder = EfficientNetLite0()
        self.blocks, self.head = encoder.blocks[COARSE_BLOCKS:], encoder.head
        self.words = nn.Linear(CHANNELS, WIDTH)
        self.origin = nn.Linear(CHANNELS, 1)  # drawn by hand, or by an edge detector
        self.scale = nn.Parameter(torch.tensor(3.0))  # the logarithm of the inverse temperature
        self.register_buffer("sentences", torch.zeros(len(settings.names), WIDTH))

    def pooled(self, coarse: Tensor) -> Tensor:
        """The pooled map (B, 1280) from the encoder's `Features.coarse`."""
        x = coarse.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
        pooled: Tensor = self.head(x).mean(dim=(2, 3))
        return pooled

    def logits(self, vectors: Tensor, sentences: Tensor) -> Tensor:
        """The logits (B, n) of sentences (n, 384) for what `words` predicts (B, 384)."""
        centred = F.normalize(sentences - self.get_buffer("sentences").mean(dim=0), dim=1)
        return self.scale.exp() * F.normalize(vectors, dim=1) @ centred.T

    def forward(self, coarse: Tensor) -> Tensor:
        """The logits (B, n) of its names."""
        return self.logits(self.words(self.pooled(coarse)), self.get_buffer("sentences"))

    def by_hand(self, looks: Tensor) -> Tensor:
        """The probability (B,) that a person drew it, from `whole_vectors` (B, 1280) of the encoder."""
        origin: Tensor = self.origin(looks)
        return origin[:, 0].sigmoid()

    def weighted_words(self, coarse: Tensor, looks: Tensor) -> Tensor:
        """The words (B, 384) of what drawings show: of length 1, or 0 if an edge detector drew it."""
        sentences = self.get_buffer("sentences")
        words = F.normalize(self(coarse).softmax(dim=1) @ sentences, dim=1)
        return words * (self.by_hand(looks) >= 0.5)[:, None]


def save_drawings(path: Path, reader: DrawingReader) -> None:
    """Write a reader, its matrices as int8."""
    tensors = {name: tensor.flatten(1) if tensor.ndim > 1 else tensor for name, tensor in reader.state_dict().items()}
    save_file(quantize(tensors), path, {METADATA_KEY: json.dumps(asdict(reader.settings))})


def load_drawings(path: Path) -> DrawingReader:
    """Load a reader as float32. Raises `WeightsCorrupt`, `CheckpointMismatch`."""
    try:
        with safe_open(path, "pt") as file:
            settings = TypeAdapter(ReaderSettings).validate_json((file.metadata() or {})[METADATA_KEY])
            tensors = dequantize({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        raise WeightsCorrupt(f"{path} holds no reader of drawings: {error}") from error
    with shapes_only():
        reader = DrawingReader(settings)
    shapes = {name: tensor.shape for name, tensor in reader.state_dict().items()}
    try:
        tensors = {name: tensor.view(shapes.get(name, tensor.shape)) for name, tensor in tensors.items()}
        reader.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise CheckpointMismatch(f"{path} holds no reader of drawings: {' '.join(str(error).split())}") from error
    return reader.eval().requires_grad_(False)
