"""Reads an aligned set in one pass: each thing is read once, embedded by the model and encoded for the baselines.

The vectors are those that the service would make: each modality of each thing is embedded once and alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.seam import FloatArray
from anyseek.search.answers.ranks import BoolArray
from anyseek.search.evaluation.aligned import COMBINATIONS, AlignedSet, QuerySet
from anyseek.search.evaluation.encoder_vectors import EncoderVectors
from anyseek.search.evaluation.instruments import Instruments, Progress
from anyseek.search.evaluation.query_kinds import label_names, label_table
from anyseek.search.evaluation.rows import Chunk, Gatherer, Rows, chunks

PREDICTED, EXACT, STORED = "predicted", "exact", "stored"
EVERYTHING = "everything"
_SAME = 1e-4  # smaller differences between vectors are only rounding


@dataclass(frozen=True)
class SetVectors:
    """Raw unit vectors of an aligned set in every space.

    `single` has, by modality, the vectors of queries, which are also those of items in a `predicted` gallery. `joint`
    has those of combinations. Both may also have vectors decoded the other way. `exact` has, by modality, what
    `Embedder.embed_gallery` stores, in the spaces where that differs. `whole` has what it stores for things with all
    of their modalities (`EVERYTHING`), and for things without those of a query, by the query's name.
    """

    single: Mapping[str, Rows]
    joint: Mapping[str, Rows]
    exact: Mapping[str, Rows]
    whole: Mapping[str, Rows] = field(default_factory=dict)


@dataclass(frozen=True)
class EncodedSet:
    """An aligned set as the encoders see it: `rows` by modality and by the name of a query set."""

    aligned: AlignedSet
    rows: Mapping[str, Rows]

    @cached_property
    def labels(self) -> BoolArray:
        """Which labels each thing has: bool (things, labels)."""
        return label_table(self.aligned.labels, label_names(self.aligned), len(self.aligned.keys))


@dataclass(frozen=True)
class ReadSet:
    """An aligned set as vectors.

    `queries` has the raw vectors of its query sets by name. `unreadable` says which things could not be read.
    `left_out` says by modality why it, or some of its values, are not used.
    """

    aligned: AlignedSet
    vectors: SetVectors
    queries: Mapping[str, Rows]
    encoded: EncodedSet
    unreadable: tuple[str, ...]
    left_out: Mapping[str, str]


def read_set(instruments: Instruments, aligned: AlignedSet, progress: Progress) -> ReadSet:
    """Embed and encode the modalities of a set that the model supports."""
    embedder = instruments.embedder
    embedding, encoding = SetEmbedding(instruments), _encoding(instruments)
    unreadable: list[str] = []
    present = {asked.modality for asked in aligned.queries}
    for chunk in chunks(aligned.samples, unreadable):
        progress(f"{aligned.name}: embedding things {chunk.start + 1:,} to {chunk.stop:,} of {len(aligned.keys):,}")
        present.update(name for sample in chunk.samples for name in sample.values)
        fitting = embedding.add(chunk)
        if encoding is not None:
            encoding.add(fitting, embedder.modalities)
    queries: dict[str, Rows] = {}
    for asked in _taken_queries(instruments, aligned):
        progress(f"{aligned.name}: embedding {asked.name}")
        queries |= _embedded_queries(instruments, asked, unreadable)
    left_out = dict.fromkeys(sorted(present - embedder.modalities), f"the model {embedder.name} does not take it")
    for modality, reasons in embedding.refused.items():
        left_out[modality] = f"{len(reasons):,} of its values do not fit the model, such as: {reasons[0]}"
    encoded = _encoded(instruments, aligned, encoding)
    return ReadSet(aligned, embedding.result(), queries, encoded, tuple(unreadable), left_out)


def encode_set(instruments: Instruments, aligned: AlignedSet, progress: Progress) -> EncodedSet:
    """Encode the modalities of a training set that the model supports; the model itself does not embed them."""
    encoding = _encoding(instruments)
    if encoding is not None:
        progress(f"{aligned.name}: encoding {len(aligned.keys):,} things for the ridge")
        for chunk in chunks(aligned.samples, []):
            encoding.add(chunk, instruments.embedder.modalities)
    return _encoded(instruments, aligned, encoding)


def _encoded(instruments: Instruments, aligned: AlignedSet, things: EncoderVectors | None) -> EncodedSet:
    """Return the encoders' vectors of a set's things and of its query sets."""
    rows = {} if things is None else things.result()
    for asked in _taken_queries(instruments, aligned):
        rows |= _encoded_queries(instruments, asked)
    return EncodedSet(aligned, rows)


def _taken_queries(instruments: Instruments, aligned: AlignedSet) -> list[QuerySet]:
    return [asked for asked in aligned.queries if asked.modality in instruments.embedder.modalities]


def _encoding(instruments: Instruments) -> EncoderVectors | None:
    return None if instruments.encoders is None else EncoderVectors(instruments.encoders)


def _embedded_queries(instruments: Instruments, queries: QuerySet, unreadable: list[str]) -> dict[str, Rows]:
    vectors = Gatherer()
    for chunk in chunks(queries.samples, unreadable):
        if chunk.places:
            vectors.add(queries.name, chunk.places, instruments.embed(chunk.samples))
    return vectors.rows()


def _encoded_queries(instruments: Instruments, queries: QuerySet) -> dict[str, Rows]:
    """Return the query set's vectors by its name; empty without encoders, or if they do not encode its modality."""
    encoding = _encoding(instruments)
    if encoding is None:
        return {}
    for chunk in chunks(queries.samples, []):
        encoding.add(chunk, frozenset({queries.modality}))
    found = encoding.result()
    return {queries.name: found[queries.modality]} if found else {}


class SetEmbedding:
    """Embeds an aligned set a chunk at a time. `refused` reports by modality the values that do not fit the model."""

    def __init__(self, instruments: Instruments) -> None:
        self.refused: dict[str, list[str]] = {}
        self._instruments, self._embedder = instruments, instruments.embedder
        self._single, self._joint, self._exact, self._whole = Gatherer(), Gatherer(), Gatherer(), Gatherer()
        self._exact_spaces: dict[str, list[str]] = {}  # by modality, known once its first samples are embedded

    def add(self, chunk: Chunk) -> Chunk:
        """Embed every modality of every sample that the model supports, and the combinations.

        Return the samples without the values that do not fit the model, such as boxes of an unknown class.
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
        """Embed one modality; return the chunk without those of its values that the model refuses."""
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
        """Add the vectors that a gallery stores, where they differ from the predicted ones."""
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
        """Add the vectors that a gallery stores for whole things, and for things without each query's modalities."""
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
    """Return the name of a combination, such as `caption+color_palette`."""
    return "+".join(modalities)
