"""Gathers the vectors of many things a chunk at a time; a recall matrix is computed from them."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.seam import FloatArray, Sample
from anyseek.search.answers.ranks import IntArray
from anyseek.search.errors import BadInput
from anyseek.search.evaluation.aligned import Samples

_SAMPLES_AT_ONCE = 64


@dataclass(frozen=True)
class Rows:
    """Vectors of some of a sequence's members: `places` int64 (n,), ascending; `vectors` (n, d) by space or encoder."""

    places: IntArray
    vectors: Mapping[str, FloatArray]

    def of(self, places: IntArray) -> IntArray:
        """Return the row of each place, -1 if it has none: int64 of the same shape."""
        found = np.searchsorted(self.places, places)
        clipped = np.minimum(found, len(self.places) - 1)
        rows: IntArray = np.where((self.places[clipped] == places) & (places >= 0), clipped, -1).astype(np.int64)
        return rows


@dataclass(frozen=True)
class Chunk:
    """The readable samples from `start` up to, but not including, `stop`, and their places in the sequence."""

    start: int
    stop: int
    places: tuple[int, ...]
    samples: tuple[Sample, ...]

    def having(self, modalities: Sequence[str]) -> "Chunk":
        """Return the samples that have all of `modalities`, with only these."""
        kept = [
            (place, Sample({name: sample.values[name] for name in modalities}))
            for place, sample in zip(self.places, self.samples, strict=True)
            if all(name in sample.values for name in modalities)
        ]
        return Chunk(self.start, self.stop, tuple(place for place, _ in kept), tuple(sample for _, sample in kept))

    def of(self, modalities: Collection[str]) -> "Chunk":
        """Return the samples that have any of `modalities`, with only these."""
        kept = [
            (place, Sample({name: value for name, value in sample.values.items() if name in modalities}))
            for place, sample in zip(self.places, self.samples, strict=True)
            if not sample.values.keys().isdisjoint(modalities)
        ]
        return Chunk(self.start, self.stop, tuple(place for place, _ in kept), tuple(sample for _, sample in kept))

    def without(self, modality: str, places: Collection[int]) -> "Chunk":
        """Return the same samples, but those at `places` without `modality`."""
        samples = tuple(
            Sample({name: value for name, value in sample.values.items() if name != modality or place not in places})
            for place, sample in zip(self.places, self.samples, strict=True)
        )
        return replace(self, samples=samples)


def chunks(samples: Samples, unreadable: list[str]) -> Iterator[Chunk]:
    """Yield the samples in order, 64 at a time, reading each once; add those that cannot be read to `unreadable`."""
    for start in range(0, len(samples), _SAMPLES_AT_ONCE):
        read = []
        stop = min(start + _SAMPLES_AT_ONCE, len(samples))
        for place in range(start, stop):
            try:
                read.append((place, samples[place]))
            except (BadInput, SampleInvalid) as error:
                unreadable.append(str(error))
        yield Chunk(start, stop, tuple(place for place, _ in read), tuple(sample for _, sample in read))


class Gatherer:
    """Collects vectors by name."""

    def __init__(self) -> None:
        self._places: dict[str, list[int]] = defaultdict(list)
        self._vectors: dict[str, dict[str, list[FloatArray]]] = defaultdict(lambda: defaultdict(list))

    def add(self, name: str, places: Sequence[int], vectors: Mapping[str, FloatArray]) -> None:
        self._places[name].extend(places)
        for space, rows in vectors.items():
            self._vectors[name][space].append(rows)

    def rows(self) -> dict[str, Rows]:
        """Return everything that was added, by name, in the order in which the names were first added."""
        return {
            name: Rows(
                np.array(places, np.int64),
                {space: np.concatenate(parts) for space, parts in self._vectors[name].items()},
            )
            for name, places in self._places.items()
        }
