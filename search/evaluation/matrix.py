"""The recall matrix: every kind of query against every kind of item, in every space, beside both baselines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from model.embedder import Embedder, EmbeddingSpace, FloatArray, UnsupportedModality
from search.errors import BadQuery, NotAligned
from search.evaluation.aligned import AlignedSet
from search.evaluation.asked import Asked, lines_of
from search.evaluation.baselines import Baselines, Sides
from search.evaluation.embedding import EXACT, PREDICTED
from search.evaluation.measures import Scores, score
from search.evaluation.reading import Instruments, Progress, ReadSet, encode_set, read_set
from search.evaluation.rows import Rows
from search.fusion import centre, fuse
from search.query_vectors import query_mean
from search.snapshot_writer import CENTRE_FROM

LATE, JOINT = "late", "joint"


@dataclass(frozen=True)
class Row:
    """One kind of query in one gallery of one space.

    `gallery_kind` is `exact` or `predicted`; `fusion` is `late` or `joint` for a query of several modalities.
    `default`: what the service does unless told otherwise. `contains_gallery`: the query has the very file that the
    item is indexed by. A baseline is None where the encoders do not take one of the sides.
    """

    query: str
    modalities: tuple[str, ...]
    gallery: str
    gallery_kind: str
    space: str
    fusion: str | None
    default: bool
    contains_gallery: bool
    model: Scores
    encoders: Scores | None
    ridge: Scores | None


@dataclass(frozen=True)
class Matrix:
    """All rows of one set of `things` things.

    `left_out` says by modality why it has no row or fewer things, `unreadable` which things were left out and why,
    `notes` what else was, `ridge_fit` what the ridge was fitted on (None: there are no baselines).
    """

    name: str
    things: int
    rows: tuple[Row, ...]
    left_out: Mapping[str, str]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]
    ridge_fit: str | None


def recall_matrix(
    instruments: Instruments, aligned: AlignedSet, training: AlignedSet | None, progress: Progress
) -> Matrix:
    """Measure a set; `training` has the pairs that the ridge is fitted on (without it: folds of the set itself).

    Raises `NotAligned` if there is nothing to compare, `UnsupportedModality` if the model takes nothing of the set.
    """
    read = read_set(instruments, aligned, progress)
    _check(read, instruments.embedder)
    known = encode_set(instruments, training, progress) if training else None
    baselines = Baselines(read.encoded, known)
    rows: list[Row] = []
    for line in lines_of(aligned, {**read.vectors.single, **read.queries}):
        progress(f"{aligned.name}: asking {line.name}")
        for modality in read.vectors.single:
            rows += _Cell(instruments, read, line, modality).rows(baselines)
    fitted = _fitted_on(training) if instruments.encoders else None
    return Matrix(aligned.name, len(aligned.keys), tuple(rows), read.left_out, read.unreadable, aligned.notes, fitted)


def _fitted_on(training: AlignedSet | None) -> str:
    if training is None:
        return "five folds of the set itself, each mapped by a fit on the other four"
    return f"{len(training.keys):,} things of {training.name}"


def _check(read: ReadSet, embedder: Embedder) -> None:
    name, found = read.aligned.name, sorted(read.vectors.single)
    takes = ", ".join(sorted(embedder.modalities))
    if not found and read.left_out:
        has = ", ".join(read.left_out)
        raise UnsupportedModality(
            f"{name} has {has}, and the model {embedder.name} takes none of them; it takes {takes}"
        )
    if not found:
        raise NotAligned(f"nothing of {name} could be read: {'; '.join(read.unreadable[:3]) or 'it is empty'}")
    if len(found) == 1 and not read.queries and not read.aligned.labels:
        raise NotAligned(
            f"{name} has {found[0]} alone of what the model {embedder.name} takes ({takes}); a recall matrix compares "
            "at least two modalities"
        )


@dataclass(frozen=True)
class _Cell:
    """One line against the items of one modality."""

    instruments: Instruments
    read: ReadSet
    line: Asked
    modality: str

    def rows(self, baselines: Baselines) -> Iterator[Row]:
        """A row a space, kind of gallery and way of fusing; none if no query has a right item there."""
        kept, answers = self.line.answers(self._gallery, self.read.encoded.labels, self.modality)
        if not len(kept):
            return
        columns = self._columns(baselines)
        for space in self.instruments.spaces:
            for (kind, items), (fusion, queries) in product(self._galleries(space), self._queries(space)):
                model = score(queries[kept], items, answers)
                if model is not None:
                    yield self._row(space, kind, fusion, model, columns)

    @property
    def _gallery(self) -> Rows:
        return self.read.vectors.single[self.modality]

    def _row(
        self, space: str, kind: str, fusion: str | None, model: Scores, columns: Mapping[str, Scores | None]
    ) -> Row:
        line, exact = self.line, self._exact(space)
        usual = default_space(self.instruments, line.modalities[0])
        return Row(
            query=line.name,
            modalities=line.modalities,
            gallery=self.modality,
            gallery_kind=kind,
            space=space,
            fusion=fusion,
            default=space == usual and kind == (EXACT if exact else PREDICTED) and fusion != JOINT,
            contains_gallery=not line.from_outside and self.modality in line.modalities,
            model=model,
            encoders=columns["encoders"],
            ridge=columns["ridge"],
        )

    def _columns(self, baselines: Baselines) -> dict[str, Scores | None]:
        sides = {"encoders": baselines.encoders, "ridge": baselines.ridge}
        return {name: self._baseline(make(self.line, self.modality)) for name, make in sides.items()}

    def _baseline(self, sides: Sides | None) -> Scores | None:
        if sides is None:
            return None
        gallery = self.read.encoded.rows[self.modality]
        kept, answers = self.line.answers(gallery, self.read.encoded.labels, self.modality)
        return score(sides[0][kept], sides[1], answers)

    def _exact(self, space: str) -> bool:
        exact = self.read.vectors.exact.get(self.modality)
        return exact is not None and space in exact.vectors

    def _galleries(self, space: str) -> Iterator[tuple[str, FloatArray]]:
        """The items' vectors of each kind, centred as a collection of them is."""
        about = self.instruments.embedder.spaces[space]
        yield PREDICTED, centred_items(self._gallery.vectors[space], about)
        if self._exact(space):
            yield EXACT, centred_items(self.read.vectors.exact[self.modality].vectors[space], about)

    def _queries(self, space: str) -> Iterator[tuple[str | None, FloatArray]]:
        """The queries' vectors by how their parts are joined, centred as the engine does it."""
        line, about = self.line, self.instruments.embedder.spaces[space]
        means = [query_mean(about, modality) for modality in line.modalities]
        known = {**self.read.vectors.single, **self.read.queries}
        parts = [
            centre(known[part].vectors[space][known[part].of(line.places)], mean)
            for part, mean in zip(line.parts, means, strict=True)
        ]
        if len(parts) == 1:
            yield None, parts[0]
            return
        yield LATE, np.stack([_fused(one) for one in np.stack(parts, axis=1)])
        joint = self.read.vectors.joint[line.name]
        whole = joint.vectors[space][joint.of(line.places)]
        yield JOINT, centre(whole, np.mean(means, axis=0))


def _fused(parts: FloatArray) -> FloatArray:
    """Parts (p, d) as one query; parts that cancel each other out find nothing."""
    try:
        return fuse(parts, [1.0] * len(parts))
    except BadQuery:
        return np.zeros(parts.shape[1], np.float32)


def default_space(instruments: Instruments, modality: str) -> str:
    """The space in which the service answers queries of `modality`; the first measured one if that is not measured."""
    usual = instruments.embedder.default_space(modality)
    return usual if usual in instruments.spaces else instruments.spaces[0]


def centred_items(vectors: FloatArray, space: EmbeddingSpace) -> FloatArray:
    """Items centred as in a collection: on their own mean once there are enough, before on the space's prior."""
    enough = len(vectors) >= CENTRE_FROM and space.gallery_prior.any()
    return centre(vectors, vectors.mean(axis=0) if enough else space.gallery_prior)
