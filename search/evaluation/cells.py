"""One kind of query against items of one kind: every way to answer it, beside both baselines."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from model.embedder import CodeEmbedder, Decoding, EmbeddingSpace, FloatArray, Fusion
from search.errors import BadQuery
from search.evaluation.asked import Asked
from search.evaluation.baselines import Baselines, Sides
from search.evaluation.comparisons import Compare, Comparison
from search.evaluation.embedding import EXACT, PREDICTED
from search.evaluation.galleries import Gallery
from search.evaluation.instruments import Instruments, otherwise
from search.evaluation.measures import Answers, IntArray, Outcomes, Scores, gain, outcomes, score, scores_of
from search.evaluation.reading import ReadSet
from search.fusion import centre, fuse
from search.query_vectors import centre_queries
from search.snapshot_writer import CENTRE_FROM

_OTHER_FUSION = {Fusion.LATE: Fusion.JOINT, Fusion.JOINT: Fusion.LATE}
_OTHER_DECODING = {Decoding.SOFT: Decoding.HARD, Decoding.HARD: Decoding.SOFT}


@dataclass(frozen=True)
class Row:
    """One kind of query in one gallery of one space.

    `gallery` is the modality that items have alone, `everything` or `everything else`; `gallery_kind` is `exact`,
    `predicted` or `stored`; `fusion` is `late` or `joint` for a query of several modalities. `default`: what the
    service does unless told otherwise. `contains_gallery`: the query has the very file, or one of the files, that the
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
class _Way:
    """One way to answer; `fusion` is None for a query of one part, `decoding` for a model without codes."""

    space: str
    gallery: str
    fusion: Fusion | None
    decoding: Decoding | None


@dataclass(frozen=True)
class Cell:
    """One line of a matrix against one gallery."""

    instruments: Instruments
    read: ReadSet
    line: Asked
    gallery: Gallery
    _found: dict[_Way, Outcomes] = field(default_factory=dict)  # what was measured already

    def rows(self, baselines: Baselines) -> Iterator[Row]:
        """A row a space, kind of gallery and way of fusing; none if no query has a right item there."""
        if not len(self._asking()[0]):
            return
        columns = {"encoders": self._baseline(baselines.encoders), "ridge": self._baseline(baselines.ridge)}
        for space in self.instruments.spaces:
            usual = self._usual(space)
            fusions = [None] if usual.fusion is None else list(Fusion)
            for kind, fusion in product(self.gallery.kinds(space), fusions):
                way = replace(usual, gallery=kind, fusion=fusion)
                model = scores_of(self._measured(way))
                if model is not None:
                    yield self._row(way, way == usual, model, columns)

    def comparisons(self) -> Iterator[Comparison]:
        """The usual way of each space against those that differ in one thing that is to be compared.

        None for queries that have the item's own file: they say nothing.
        """
        if self._contains_gallery or not len(self._asking()[0]):
            return
        for space in self.instruments.spaces:
            usual = self._usual(space)
            for what, other in self._others(usual):
                before, after = scores_of(self._measured(usual)), scores_of(self._measured(other))
                if before is not None and after is not None:
                    yield self._comparison(what, usual, other, before, after)

    def _comparison(self, what: Compare, usual: _Way, other: _Way, before: Scores, after: Scores) -> Comparison:
        return Comparison(
            what=what,
            query=self.line.name,
            gallery=self.gallery.name,
            gallery_kind=usual.gallery,
            space=usual.space,
            fusion=usual.fusion,
            usual=getattr(usual, what),
            other=getattr(other, what),
            usual_scores=before,
            other_scores=after,
            gain=gain(self._measured(usual), self._measured(other)),
        )

    def _usual(self, space: str) -> _Way:
        """What the service does in a space unless told otherwise."""
        embedder = self.instruments.embedder
        fusion = embedder.fusion if len(self.line.parts) > 1 else None
        decoding = embedder.decoding if isinstance(embedder, CodeEmbedder) else None
        return _Way(space, self.gallery.kinds(space)[-1], fusion, decoding)

    def _others(self, usual: _Way) -> Iterator[tuple[Compare, _Way]]:
        compare = self.instruments.compare
        if Compare.FUSION in compare and usual.fusion is not None:
            yield Compare.FUSION, replace(usual, fusion=_OTHER_FUSION[usual.fusion])
        if Compare.GALLERY in compare and usual.gallery == EXACT:
            yield Compare.GALLERY, replace(usual, gallery=PREDICTED)
        if Compare.DECODING in compare and usual.decoding is not None:
            yield Compare.DECODING, replace(usual, decoding=_OTHER_DECODING[usual.decoding])

    def _row(self, way: _Way, usual: bool, model: Scores, columns: Mapping[str, Scores | None]) -> Row:
        return Row(
            query=self.line.name,
            modalities=self.line.modalities,
            gallery=self.gallery.name,
            gallery_kind=way.gallery,
            space=way.space,
            fusion=way.fusion,
            default=usual and way.space == default_space(self.instruments, self.line.modalities[0]),
            contains_gallery=self._contains_gallery,
            model=model,
            encoders=columns["encoders"],
            ridge=columns["ridge"],
        )

    def _baseline(self, make: Callable[[Asked, str], Sides | None]) -> Scores | None:
        looks_like = self.gallery.looks_like
        sides = None if looks_like is None else make(self.line, looks_like)
        if sides is None or looks_like is None:
            return None
        known = self.read.encoded.rows[looks_like]
        kept, answers = self.line.answers(known, self.read.encoded.labels, {looks_like})
        return score(sides[0][kept], sides[1], answers)

    @property
    def _contains_gallery(self) -> bool:
        return self.line.is_in(self.gallery.contents)

    def _asking(self) -> tuple[IntArray, Answers]:
        return self.line.answers(self.gallery.rows, self.read.encoded.labels, self.gallery.contents)

    def _measured(self, way: _Way) -> Outcomes:
        if way not in self._found:
            kept, answers = self._asking()
            self._found[way] = outcomes(self._queries(way)[kept], self._items(way), answers)
        return self._found[way]

    def _items(self, way: _Way) -> FloatArray:
        """The items' vectors, centred as a collection of them is."""
        rows = self.gallery.vectors[way.gallery]
        key = self._key(way) if way.gallery == PREDICTED else way.space
        return centred_items(rows.vectors[key], self.instruments.embedder.spaces[way.space])

    def _queries(self, way: _Way) -> FloatArray:
        """The queries' vectors, centred and fused as the engine does it."""
        line, about, key = self.line, self.instruments.embedder.spaces[way.space], self._key(way)
        if way.fusion is Fusion.JOINT:
            whole = self.read.vectors.joint[line.name]
            return centre_queries(about, line.modalities, whole.vectors[key][whole.of(line.places)])
        known = {**self.read.vectors.single, **self.read.queries}
        parts = [
            centre_queries(about, [modality], known[part].vectors[key][known[part].of(line.places)])
            for part, modality in zip(line.parts, line.modalities, strict=True)
        ]
        return parts[0] if len(parts) == 1 else np.stack([_fused(one) for one in np.stack(parts, axis=1)])

    def _key(self, way: _Way) -> str:
        """The name of a way's vectors among those of a modality."""
        embedder = self.instruments.embedder
        own = not isinstance(embedder, CodeEmbedder) or way.decoding is embedder.decoding
        return way.space if own else otherwise(way.space)


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
