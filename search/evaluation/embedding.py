"""The vectors of an aligned set, as the service would make them: each modality of each thing once and alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from model.embedder import FloatArray
from model.formats.spans import FormatInvalid
from search.evaluation.aligned import COMBINATIONS
from search.evaluation.instruments import Instruments
from search.evaluation.rows import Chunk, Gatherer, Rows

PREDICTED, EXACT, STORED = "predicted", "exact", "stored"
EVERYTHING = "everything"
_SAME = 1e-4  # vectors nearer than this are the same but for rounding


@dataclass(frozen=True)
class SetVectors:
    """Raw unit vectors of an aligned set in every space.

    `single` by modality: what queries of it are, and what items of it are in a `predicted` gallery. `joint` by
    combination. Both may have vectors decoded otherwise, too. `exact` by modality: what `Embedder.embed_gallery`
    stores, in the spaces where that is something else. `whole`: what it stores for things with all of their modalities
    (`EVERYTHING`), and without those of a query, by the query's name.
    """

    single: Mapping[str, Rows]
    joint: Mapping[str, Rows]
    exact: Mapping[str, Rows]
    whole: Mapping[str, Rows] = field(default_factory=dict)


class SetEmbedding:
    """Embeds an aligned set a chunk at a time. `refused` tells by modality of values that do not fit the model."""

    def __init__(self, instruments: Instruments) -> None:
        self.refused: dict[str, list[str]] = {}
        self._instruments, self._embedder = instruments, instruments.embedder
        self._single, self._joint, self._exact, self._whole = Gatherer(), Gatherer(), Gatherer(), Gatherer()
        self._exact_spaces: dict[str, list[str]] = {}  # by modality, known from its first samples on

    def add(self, chunk: Chunk) -> Chunk:
        """Embed every modality that the model takes of every sample, and the combinations.

        Returns the samples without the values that the model has no place for, such as boxes of an unknown class.
        """
        present = {name for sample in chunk.samples for name in sample.values}
        for modality in sorted(present & self._embedder.modalities):
            chunk = self._add_single(modality, chunk)
        for modalities in COMBINATIONS:
            both = chunk.having(modalities)
            if both.places and self._embedder.modalities.issuperset(modalities):
                self._joint.add(combined(modalities), both.places, self._instruments.embed(both.samples))
        if self._instruments.whole_items:
            self._add_whole(chunk)
        return chunk

    def result(self) -> SetVectors:
        return SetVectors(self._single.rows(), self._joint.rows(), self._exact.rows(), self._whole.rows())

    def _add_single(self, modality: str, chunk: Chunk) -> Chunk:
        """Embed one modality; returns the chunk without values of it that the model refuses."""
        part = chunk.having([modality])
        try:
            predicted = self._instruments.embed(part.samples)
        except FormatInvalid:
            chunk = chunk.without(modality, self._refused_places(modality, part))
            part = chunk.having([modality])
            if not part.places:
                return chunk
            predicted = self._instruments.embed(part.samples)
        self._single.add(modality, part.places, predicted)
        self._add_exact(modality, part, predicted)
        return chunk

    def _refused_places(self, modality: str, part: Chunk) -> set[int]:
        places = set()
        for place, sample in zip(part.places, part.samples, strict=True):
            try:
                self._instruments.embed([sample])
            except FormatInvalid as error:
                places.add(place)
                self.refused.setdefault(modality, []).append(str(error))
        return places

    def _add_exact(self, modality: str, part: Chunk, predicted: Mapping[str, FloatArray]) -> None:
        """What a gallery stores, where that is something else than what is predicted."""
        wanted = self._exact_spaces.get(modality, list(self._instruments.spaces))
        if not wanted:
            return
        stored = self._embedder.embed_gallery(part.samples, wanted)
        if modality not in self._exact_spaces:
            wanted = [space for space in wanted if np.abs(stored[space] - predicted[space]).max() > _SAME]
            self._exact_spaces[modality] = wanted
        if wanted:
            self._exact.add(modality, part.places, {space: stored[space] for space in wanted})

    def _add_whole(self, chunk: Chunk) -> None:
        """What a gallery stores for whole things, and for things without what each kind of query is."""
        known = self._embedder.modalities
        present = known.intersection(name for sample in chunk.samples for name in sample.values)
        without = {EVERYTHING: frozenset[str]()} | {name: frozenset({name}) for name in sorted(known)}
        without |= {combined(names): frozenset(names) for names in COMBINATIONS if known.issuperset(names)}
        stored: dict[frozenset[str], dict[str, FloatArray]] = {}
        for name, left_out in without.items():
            kept = present - left_out
            part = chunk.of(kept)
            if part.places:
                if kept not in stored:
                    stored[kept] = self._embedder.embed_gallery(part.samples, list(self._instruments.spaces))
                self._whole.add(name, part.places, stored[kept])


def combined(modalities: Sequence[str]) -> str:
    """What a combination is called: `caption+color_palette`."""
    return "+".join(modalities)
