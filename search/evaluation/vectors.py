"""Embeds an aligned set in one pass: each thing is read once, embedded by the model and encoded for the baseline.

The vectors equal the service's: each modality of each thing is embedded once and alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from anyseek.model.data.aligned import COMBINATIONS, AlignedSet, Samples
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.values import render_value
from anyseek.model.seam import Embedder, FloatArray, Fusion, Sample
from anyseek.search.answers.ranks import BoolArray
from anyseek.search.errors import BadInput
from anyseek.search.evaluation.query_kinds import Rows, label_names, label_table

VISUAL, SENTENCE = "visual", "sentence"  # EfficientNet-Lite0, 1,280 numbers; MiniLM, 384 numbers
TEXT = "caption"
_BATCH_SIZE = 64
_TOLERANCE = 1e-4  # smaller differences between vectors are only rounding

Progress = Callable[[str], None]
Batch = dict[int, Sample]  # by the place in the sequence


class Encoders(Protocol):
    """`anyseek.model.encoders.baselines.Encoders`, which needs torch."""

    def pictures(self, pictures: Sequence[ByteArray]) -> tuple[FloatArray, FloatArray]: ...
    def sentences(self, texts: Sequence[str]) -> FloatArray: ...
    def conse(self, logits: FloatArray) -> FloatArray: ...


@dataclass(frozen=True)
class SetVectors:
    """Raw unit vectors of an aligned set.

    `queries` has the model's vectors by modality and by the name of a query set, `joint` those of combinations if the
    model fuses jointly, `items` what a collection stores by modality. `encoded` has the encoders' vectors by modality
    and query set, with `VISUAL` and `SENTENCE` for spaces. `unreadable` says which things could not be read,
    `left_out` by modality why it, or some of its values, are not used.
    """

    aligned: AlignedSet
    queries: Mapping[str, Rows]
    joint: Mapping[str, Rows]
    items: Mapping[str, Rows]
    encoded: Mapping[str, Rows]
    unreadable: tuple[str, ...]
    left_out: Mapping[str, str]

    @cached_property
    def labels(self) -> BoolArray:
        """The labels of each thing: bool (things, labels)."""
        return label_table(self.aligned.labels, label_names(self.aligned), len(self.aligned.keys))


def batches(samples: Samples, unreadable: list[str]) -> Iterator[Batch]:
    """Yield the samples in order, 64 at a time, reading each once; add those that cannot be read to `unreadable`."""
    for start in range(0, len(samples), _BATCH_SIZE):
        batch: Batch = {}
        for place in range(start, min(start + _BATCH_SIZE, len(samples))):
            try:
                batch[place] = samples[place]
            except (BadInput, SampleInvalid) as error:
                unreadable.append(str(error))
        yield batch


def _select_modalities(batch: Batch, modalities: Sequence[str]) -> Batch:
    """Return the samples that have all of `modalities`, with only these."""
    return {
        place: Sample({name: sample.values[name] for name in modalities})
        for place, sample in batch.items()
        if all(name in sample.values for name in modalities)
    }


class _VectorCollector:
    """Collects vectors by name, a chunk at a time."""

    def __init__(self) -> None:
        self._places: dict[str, list[int]] = defaultdict(list)
        self._vectors: dict[str, dict[str, list[FloatArray]]] = defaultdict(lambda: defaultdict(list))

    def add(self, name: str, places: Iterable[int], vectors: Mapping[str, FloatArray]) -> None:
        self._places[name].extend(places)
        for space, rows in vectors.items():
            self._vectors[name][space].append(rows)

    def rows(self) -> dict[str, Rows]:
        """Everything that was added, by name, in the order in which the names were first added."""
        return {
            name: Rows(np.array(places, np.int64), {k: np.concatenate(v) for k, v in self._vectors[name].items()})
            for name, places in self._places.items()
        }


def read_set(
    embedder: Embedder, spaces: Sequence[str], encoders: Encoders | None, aligned: AlignedSet, progress: Progress
) -> SetVectors:
    """Embed and encode the modalities of a set that the model supports; without `encoders`, `encoded` is empty."""
    reader = _Reader(embedder, spaces, encoders)
    unreadable: list[str] = []
    present = {queries.modality for queries in aligned.queries}
    for number, batch in enumerate(batches(aligned.samples, unreadable)):
        progress(f"{aligned.name}: embedding from thing {number * _BATCH_SIZE + 1:,} of {len(aligned.keys):,}")
        present |= _modalities(batch)
        reader.add_things(batch)
    for queries in aligned.queries:
        if queries.modality in embedder.modalities:
            progress(f"{aligned.name}: embedding {queries.name}")
            for batch in batches(queries.samples, unreadable):
                reader.add_queries(queries.name, queries.modality, batch)
    left_out = dict.fromkeys(sorted(present - embedder.modalities), f"the model {embedder.name} does not take it")
    for modality, reasons in reader.unsupported.items():
        left_out[modality] = f"{len(reasons):,} of its values do not fit the model, such as: {reasons[0]}"
    return SetVectors(
        aligned,
        reader.queries.rows(),
        reader.joint.rows(),
        reader.items.rows(),
        reader.encoded.rows(),
        tuple(unreadable),
        left_out,
    )


def _modalities(batch: Batch) -> set[str]:
    return {name for sample in batch.values() for name in sample.values}


@dataclass
class _Reader:
    """Gathers the vectors of a set. `unsupported` reports by modality the values that do not fit the model."""

    embedder: Embedder
    spaces: Sequence[str]
    encoders: Encoders | None
    unsupported: dict[str, list[str]] = field(default_factory=dict)
    queries: _VectorCollector = field(default_factory=_VectorCollector)
    joint: _VectorCollector = field(default_factory=_VectorCollector)
    items: _VectorCollector = field(default_factory=_VectorCollector)
    encoded: _VectorCollector = field(default_factory=_VectorCollector)
    _exact: dict[str, list[str]] = field(default_factory=dict)  # spaces whose items differ from queries, by modality

    def add_things(self, batch: Batch) -> None:
        """Add every modality of every sample that the model supports, and the combinations."""
        for modality in sorted(_modalities(batch) & self.embedder.modalities):
            self._add_modality(modality, batch)
            self._encode(modality, modality, _select_modalities(batch, [modality]))
        for modalities in COMBINATIONS if self.embedder.fusion is Fusion.JOINT else ():
            both = _select_modalities(batch, modalities)
            if both and self.embedder.modalities.issuperset(modalities):
                self.joint.add("+".join(modalities), both, self._embed(both))

    def add_queries(self, name: str, modality: str, batch: Batch) -> None:
        if batch:
            self.queries.add(name, batch, self._embed(batch))
            self._encode(name, modality, batch)

    def _embed(self, batch: Batch) -> dict[str, FloatArray]:
        return self.embedder.embed(list(batch.values()), self.spaces)

    def _add_modality(self, modality: str, batch: Batch) -> None:
        """Embed one modality as queries and as items; values that the model refuses are taken out of the batch."""
        part = _select_modalities(batch, [modality])
        try:
            vectors = self._embed(part)
        except FormatInvalid:
            self._remove_unsupported(modality, batch)
            part = _select_modalities(batch, [modality])
            if not part:
                return
            vectors = self._embed(part)
        self.queries.add(modality, part, vectors)
        wanted = self._exact.get(modality, list(self.spaces))
        stored = self.embedder.embed_gallery(list(part.values()), wanted) if wanted else {}
        self._exact.setdefault(modality, [k for k in wanted if np.abs(stored[k] - vectors[k]).max() > _TOLERANCE])
        self.items.add(modality, part, {**vectors, **stored})

    def _remove_unsupported(self, modality: str, batch: Batch) -> None:
        for place, sample in _select_modalities(batch, [modality]).items():
            try:
                self._embed({place: sample})
            except FormatInvalid as error:
                values = {name: value for name, value in batch[place].values.items() if name != modality}
                batch[place] = Sample(values)
                self.unsupported.setdefault(modality, []).append(str(error))

    def _encode(self, name: str, modality: str, part: Batch) -> None:
        """Encode captions as `SENTENCE`, and pictures of everything that can be rendered as `VISUAL`.

        A picture's `SENTENCE` is the ConSE vector of its class probabilities. Other values get no vector.
        """
        values = [sample.values[modality] for sample in part.values()]
        if self.encoders is None or not values:
            return
        if modality == TEXT:
            sentences = self.encoders.sentences([str(value) for value in values])
            self.encoded.add(name, part, {SENTENCE: sentences})
            return
        pictures = [picture for value in values if (picture := render_value(modality, value)) is not None]
        if len(pictures) == len(values):
            visual, logits = self.encoders.pictures(pictures)
            self.encoded.add(name, part, {VISUAL: visual, SENTENCE: self.encoders.conse(logits)})
