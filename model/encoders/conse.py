"""Sentence-space vectors of pictures from class probabilities (ConSE, Norouzi et al., arXiv 1312.5650)."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 2.0
_CLASSES = Path(__file__).with_name("imagenet_classes.txt")


def class_names() -> list[str]:
    """The 1,000 ImageNet classes, in the encoder's order."""
    return _CLASSES.read_text(encoding="utf-8").splitlines()


def class_sentences() -> list[str]:
    """ "a photo of a CLASS" for the 1,000 ImageNet classes, in the encoder's order."""
    return [f"a photo of a {name}" for name in class_names()]


def conse(logits: Tensor, class_vectors: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Probability-weighted mean of class sentence vectors: logits (B, 1000), vectors (1000, 384) -> unit (B, 384)."""
    return F.normalize((logits / temperature).softmax(dim=1) @ class_vectors, dim=1)
