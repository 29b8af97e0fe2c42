"""The data of a recall matrix: things with aligned modalities, and queries with known answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from anyseek.model.seam import Sample

Labels = tuple[frozenset[str], ...]
Handle = TypeVar("Handle")

# Pairs of modalities that also form one query if a thing has both, such as a sketch and a caption.
COMBINATIONS = (("caption", "color_palette"), ("canny_edge", "caption"), ("depth", "semseg"))


class Samples(Protocol):
    """A sequence of samples, in memory or lazy."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Sample: ...


@dataclass(frozen=True)
class QuerySet:
    """Additional queries of one kind, such as another vendor's drawings.

    Each of `samples` has only `modality`. `own` holds the key of the item that each query should find, or None if it
    should find every item that shares a label with it. `labels` is empty or has one set per query.
    """

    name: str
    modality: str
    samples: Samples
    own: tuple[str | None, ...]
    labels: Labels = ()


@dataclass(frozen=True)
class AlignedSet:
    """Things by key, each a sample of one or more modalities; not every thing has all of them.

    `samples` may decode files lazily, and then raises `BadInput` or `SampleInvalid` for a file that it cannot decode.
    Such things are left out and reported. `labels` is empty or has one set per thing. `notes` say what is missing.
    """

    name: str
    keys: tuple[str, ...]
    samples: Samples
    labels: Labels = ()
    queries: tuple[QuerySet, ...] = ()
    notes: tuple[str, ...] = ()


class LazySamples:
    """Samples that `read` loads from their handles at each access."""

    def __init__(self, handles: Sequence[Handle], read: Callable[[Handle], Sample]) -> None:
        self._count = len(handles)
        self._make: Callable[[int], Sample] = lambda number: read(handles[number])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Sample:
        return self._make(number)


def sample_evenly(things: Sequence[Handle], most: int | None) -> list[Handle]:
    """At most `most` of `things`, evenly spaced and in order; all of them if `most` is None."""
    if most is None or len(things) <= most:
        return list(things)
    return [things[number * len(things) // most] for number in range(most)]
