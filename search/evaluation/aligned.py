"""What a recall matrix is measured on: things with aligned modalities, and queries whose right answers are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from model.embedder import Sample

Labels = tuple[frozenset[str], ...]
Handle = TypeVar("Handle")

# Which modalities are also asked together, where both are there: the sketch of a thing and what it is, for one.
COMBINATIONS = (("caption", "color_palette"), ("canny_edge", "caption"), ("depth", "semseg"))


class Samples(Protocol):
    """A list of samples, or anything that makes them when it is asked."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Sample: ...


@dataclass(frozen=True)
class QuerySet:
    """Further queries of one kind, such as another vendor's drawings.

    Each of `samples` has the one `modality` alone. `own` are the keys of the items they should find, None for a query
    that should find every item that shares a label with it; `labels` are empty or one set a query.
    """

    name: str
    modality: str
    samples: Samples
    own: tuple[str | None, ...]
    labels: Labels = ()


@dataclass(frozen=True)
class AlignedSet:
    """Things by key, each a sample of one or more modalities; not every thing has all of them.

    `samples` may decode what it holds when it is read, and then raises `BadInput` or `SampleInvalid` for what cannot be
    decoded: such things are left out and named. `labels` are empty or one set a thing. `notes` tell what is missing.
    """

    name: str
    keys: tuple[str, ...]
    samples: Samples
    labels: Labels = ()
    queries: tuple[QuerySet, ...] = ()
    notes: tuple[str, ...] = ()


class LazySamples:
    """Samples that are made by `read` from what stands for them, each time they are asked for."""

    def __init__(self, handles: Sequence[Handle], read: Callable[[Handle], Sample]) -> None:
        self._count = len(handles)
        self._make: Callable[[int], Sample] = lambda number: read(handles[number])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Sample:
        return self._make(number)


def evenly(things: Sequence[Handle], most: int | None) -> list[Handle]:
    """At most `most` of `things`, evenly chosen and in their order; all of them without a limit."""
    if most is None or len(things) <= most:
        return list(things)
    return [things[number * len(things) // most] for number in range(most)]
