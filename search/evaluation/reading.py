"""One pass over an aligned set: every thing is read once, embedded by the model and encoded for the baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from search.evaluation.aligned import AlignedSet, QuerySet
from search.evaluation.asked import label_names, label_table
from search.evaluation.embedding import SetEmbedding, SetVectors
from search.evaluation.encoder_vectors import EncoderVectors
from search.evaluation.instruments import Instruments, Progress
from search.evaluation.measures import BoolArray
from search.evaluation.rows import Gatherer, Rows, chunks


@dataclass(frozen=True)
class EncodedSet:
    """An aligned set as the encoders see it: `rows` by modality and by the name of a query set."""

    aligned: AlignedSet
    rows: Mapping[str, Rows]

    @cached_property
    def labels(self) -> BoolArray:
        """Which label each thing carries: bool (things, labels)."""
        return label_table(self.aligned.labels, label_names(self.aligned), len(self.aligned.keys))


@dataclass(frozen=True)
class ReadSet:
    """An aligned set as vectors.

    `queries` are the raw vectors of its query sets by name; `unreadable` says what could not be read, `left_out` by
    modality why it, or some values of it, are not used.
    """

    aligned: AlignedSet
    vectors: SetVectors
    queries: Mapping[str, Rows]
    encoded: EncodedSet
    unreadable: tuple[str, ...]
    left_out: Mapping[str, str]


def read_set(instruments: Instruments, aligned: AlignedSet, progress: Progress) -> ReadSet:
    """Embed and encode what the model takes of a set."""
    embedder = instruments.embedder
    embedding, encoding = SetEmbedding(instruments), _encoding(instruments)
    unreadable: list[str] = []
    present = {one.modality for one in aligned.queries}
    for chunk in chunks(aligned.samples, unreadable):
        progress(f"{aligned.name}: embedding things {chunk.start + 1:,} to {chunk.stop:,} of {len(aligned.keys):,}")
        present.update(name for sample in chunk.samples for name in sample.values)
        fitting = embedding.add(chunk)
        if encoding is not None:
            encoding.add(fitting, embedder.modalities)
    queries: dict[str, Rows] = {}
    for one in _taken_queries(instruments, aligned):
        progress(f"{aligned.name}: embedding {one.name}")
        queries |= _embedded_queries(instruments, one, unreadable)
    left_out = dict.fromkeys(sorted(present - embedder.modalities), f"the model {embedder.name} does not take it")
    for modality, reasons in embedding.refused.items():
        left_out[modality] = f"{len(reasons):,} of its values do not fit the model, such as: {reasons[0]}"
    encoded = _encoded(instruments, aligned, encoding)
    return ReadSet(aligned, embedding.result(), queries, encoded, tuple(unreadable), left_out)


def encode_set(instruments: Instruments, aligned: AlignedSet, progress: Progress) -> EncodedSet:
    """Encode what the model takes of a training set, which no vector of the model is needed of."""
    encoding = _encoding(instruments)
    if encoding is not None:
        progress(f"{aligned.name}: encoding {len(aligned.keys):,} things for the ridge")
        for chunk in chunks(aligned.samples, []):
            encoding.add(chunk, instruments.embedder.modalities)
    return _encoded(instruments, aligned, encoding)


def _encoded(instruments: Instruments, aligned: AlignedSet, things: EncoderVectors | None) -> EncodedSet:
    """What the encoders made of a set's things, and of its query sets."""
    rows = {} if things is None else things.result()
    for one in _taken_queries(instruments, aligned):
        rows |= _encoded_queries(instruments, one)
    return EncodedSet(aligned, rows)


def _taken_queries(instruments: Instruments, aligned: AlignedSet) -> list[QuerySet]:
    return [one for one in aligned.queries if one.modality in instruments.embedder.modalities]


def _encoding(instruments: Instruments) -> EncoderVectors | None:
    return None if instruments.encoders is None else EncoderVectors(instruments.encoders)


def _embedded_queries(instruments: Instruments, queries: QuerySet, unreadable: list[str]) -> dict[str, Rows]:
    vectors = Gatherer()
    for chunk in chunks(queries.samples, unreadable):
        if chunk.places:
            vectors.add(queries.name, chunk.places, instruments.embed(chunk.samples))
    return vectors.rows()


def _encoded_queries(instruments: Instruments, queries: QuerySet) -> dict[str, Rows]:
    """The query set's vectors under its own name; nothing without encoders or where they take no such modality."""
    encoding = _encoding(instruments)
    if encoding is None:
        return {}
    for chunk in chunks(queries.samples, []):
        encoding.add(chunk, frozenset({queries.modality}))
    found = encoding.result()
    return {queries.name: found[queries.modality]} if found else {}
