"""The interfaces of embedders that name vectors, predict attributes of pictures, or know texts that they cannot read.

Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from anyseek.model.seam import Embedder, FloatArray, Value


@runtime_checkable
class NamingEmbedder(Embedder, Protocol):
    """An embedder with a vocabulary of words for vectors of some of its spaces."""

    @property
    def naming_spaces(self) -> frozenset[str]:
        """The spaces with a vocabulary."""
        ...

    def names(self, vectors: FloatArray, space: str, most: int) -> list[tuple[str, ...]]:
        """Words that probably fit each of the vectors (n, d) of one of `naming_spaces`, at most `most`, best first.

        Often there is none. A vector may be centred.
        """
        ...


@dataclass(frozen=True)
class ImageAttribute:
    """A predicted attribute of a picture, with its probability of being right, 0 to 1."""

    value: str | bool | tuple[str, ...]
    confidence: float


@runtime_checkable
class AttributeEmbedder(Embedder, Protocol):
    """An embedder that also predicts attributes of pictures."""

    def image_attributes(self, picture: Value) -> Mapping[str, ImageAttribute]:
        """The attributes of a picture uint8 (H, W, 3) by name, without uncertain ones.

        `shows` names the things in it, the most specific first; its confidence is the lowest of theirs.
        """
        ...


@runtime_checkable
class ReadingEmbedder(Embedder, Protocol):
    """An embedder that knows which texts it cannot read."""

    def text_note(self, text: str) -> str | None:
        """Why it does not understand a text, and what to do; None if it probably does."""
        ...
