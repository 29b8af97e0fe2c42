"""The interfaces of embedders that know words for vectors and pictures. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from anyseek.model.seam import Embedder, FloatArray, Value


@runtime_checkable
class NamingEmbedder(Embedder, Protocol):
    """An embedder that knows words for what vectors of some of its spaces stand for."""

    @property
    def naming_spaces(self) -> frozenset[str]:
        """The spaces in which it knows them."""
        ...

    def names(self, vectors: FloatArray, space: str, most: int) -> list[tuple[str, ...]]:
        """The words nearest to each of the vectors (n, d) of one of `naming_spaces`, at most `most`, nearest first.

        A vector may be centred. Words are nearest where no others fit, too, so they need not be true.
        """
        ...


@dataclass(frozen=True)
class Told:
    """What a model says of a picture, and how likely that is right, 0 to 1."""

    value: str | bool | tuple[str, ...]
    confidence: float


@runtime_checkable
class TellingEmbedder(Embedder, Protocol):
    """An embedder that also says of pictures what it is sure of."""

    def tell(self, picture: Value) -> Mapping[str, Told]:
        """What it is sure of in a picture uint8 (H, W, 3), by name; what it is not sure of is left out.

        `shows` has the names of things in it, the one that says most first; its confidence is that of the least sure.
        """
        ...
