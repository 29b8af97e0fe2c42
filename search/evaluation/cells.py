"""Measures one kind of query against one kind of item, answered in every way and compared with both baselines."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from anyseek.model.seam import ONE_VECTOR, CodeEmbedder, Decoding, EmbeddingSpace, FloatArray, Fusion
from anyseek.search.answers.ranks import IntArray
from anyseek.search.errors import BadQuery
from anyseek.search.evaluation.baselines import Baselines, Sides
from anyseek.search.evaluation.instruments import Compare, Comparison, Instruments, otherwise
from anyseek.search.evaluation.measures import Answers, Outcomes, Scores, gain, outcomes, score, scores_of
from anyseek.search.evaluation.query_kinds import QueryKind
from anyseek.search.evaluation.reading import EVERYTHING, EXACT, PREDICTED, STORED, ReadSet, SetVectors
from anyseek.search.evaluation.rows import Rows
from anyseek.search.query.vectors import centre_queries, fuse
from anyseek.search.spaces.base import centre
from anyseek.search.upkeep.snapshots import CENTRE_FROM

REST = "everything else"
_PICTURE = "rgb"
_OTHER_DECODING = {Decoding.SOFT: Decoding.HARD, Decoding.HARD: Decoding.SOFT}


@dataclass(frozen=True)
class Row:
    """One kind of query in one gallery of one space.

    `gallery` is the only modality of the items, or `everything` or `everything else`; `gallery_kind` is `exact`,
    `predicted` or `stored`; `fusion` is `late` or `joint` for a query of several modalities. `default` is True for
    what the service does by default. `contains_gallery` is True if the query has the same file, or one of the files,
    that the item is indexed by. A baseline is None if the encoders cannot encode one of the sides.
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
class Gallery:
    """Items that have the modalities `contents`; `vectors` by kind: `predicted` and `exact`, or only `stored`.

    `looks_like` is the modality that represents the items in the baselines, or None.
    """

    name: str
    contents: frozenset[str]
    vectors: Mapping[str, Rows]
    looks_like: str | None

    @property
    def rows(self) -> Rows:
        """The items; every kind of vectors has the same ones."""
        return next(iter(self.vectors.values()))

    @property
    def places(self) -> IntArray:
        return self.rows.places

    def kinds(self, space: str) -> tuple[str, ...]:
        """Return the kinds of vectors that a space has; the one that the service uses comes last."""
        return tuple(kind for kind, rows in self.vectors.items() if space in rows.vectors)


@dataclass(frozen=True)
class _Way:
    """One way to answer; `fusion` is None for a query of one part, `decoding` is None for a model without codes."""

    space: str
    gallery: str
    fusion: Fusion | None
    decoding: Decoding | None

    def step(self, what: Compare) -> str:
        """Return what a compared step is called."""
        return str(getattr(self, what))


@dataclass(frozen=True)
class Cell:
    """One line of a matrix against one gallery."""

    instruments: Instruments
    read: ReadSet
    line: QueryKind
    gallery: Gallery
    _found: dict[_Way, Outcomes] = field(default_factory=dict)  # measured so far

    def rows(self, baselines: Baselines) -> Iterator[Row]:
        """Yield a row per space, kind of gallery and fusion; no rows if no query has a right item in the gallery."""
        if not len(self._asking()[0]):
            return
        columns = {"encoders": self._baseline(baselines.encoders), "ridge": self._baseline(baselines.ridge)}
        for space in self._spaces():
            usual = self._usual(space)
            fusions = [None] if usual.fusion is None else list(ONE_VECTOR)
            for kind, fusion in product(self.gallery.kinds(space), fusions):
                way = replace(usual, gallery=kind, fusion=fusion)
                model = scores_of(self._measured(way))
                if model is not None:
                    yield self._row(way, way == usual, model, columns)

    def comparisons(self) -> Iterator[Comparison]:
        """Compare the usual way of each space with the ways that differ from it in one of the compared things.

        Yield nothing for queries that have the item's own file: they tell nothing.
        """
        if self._contains_gallery or not len(self._asking()[0]):
            return
        for space in self._spaces():
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
            usual=usual.step(what),
            other=other.step(what),
            usual_scores=before,
            other_scores=after,
            gain=gain(self._measured(usual), self._measured(other)),
        )

    def _spaces(self) -> Iterator[str]:
        """Yield the spaces that know all parts of the query and something of the items."""
        for name in self.instruments.spaces:
            space = self.instruments.embedder.spaces[name]
            if all(map(space.knows, self.line.modalities)) and any(map(space.knows, self.gallery.contents)):
                yield name

    def _usual(self, space: str) -> _Way:
        """Return what the service does in a space by default."""
        embedder = self.instruments.embedder
        fusion = embedder.fusion if len(self.line.parts) > 1 else None
        decoding = embedder.decoding if isinstance(embedder, CodeEmbedder) else None
        return _Way(space, self.gallery.kinds(space)[-1], fusion, decoding)

    def _others(self, usual: _Way) -> Iterator[tuple[Compare, _Way]]:
        compare = self.instruments.compare
        if Compare.FUSION in compare and usual.fusion is not None:
            yield from ((Compare.FUSION, replace(usual, fusion=one)) for one in ONE_VECTOR if one is not usual.fusion)
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

    def _baseline(self, make: Callable[[QueryKind, str], Sides | None]) -> Scores | None:
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
        """Return the items' vectors, centred as in a collection."""
        rows = self.gallery.vectors[way.gallery]
        key = self._key(way) if way.gallery == PREDICTED else way.space
        return centred_items(rows.vectors[key], self.instruments.embedder.spaces[way.space])

    def _queries(self, way: _Way) -> FloatArray:
        """Return the queries' vectors, centred and fused as in the search engine."""
        line, about, key = self.line, self.instruments.embedder.spaces[way.space], self._key(way)
        if way.fusion is Fusion.JOINT:
            whole = self.read.vectors.joint[line.name]
            return centre_queries(about, line.modalities, whole.vectors[key][whole.of(line.places)])
        known = {**self.read.vectors.single, **self.read.queries}
        parts = [
            centre_queries(about, [modality], known[part].vectors[key][known[part].of(line.places)])
            for part, modality in zip(line.parts, line.modalities, strict=True)
        ]
        shares = [about.share(modality, line.modalities) for modality in line.modalities]
        return parts[0] if len(parts) == 1 else np.stack([_fused(query, shares) for query in np.stack(parts, axis=1)])

    def _key(self, way: _Way) -> str:
        """The name of a way's vectors among those of a modality."""
        embedder = self.instruments.embedder
        own = not isinstance(embedder, CodeEmbedder) or way.decoding is embedder.decoding
        return way.space if own else otherwise(way.space)


def _fused(parts: FloatArray, shares: Sequence[float]) -> FloatArray:
    """Fuse parts (p, d) into one query by what each counts; parts that cancel each other out find nothing."""
    try:
        return fuse(parts, shares)
    except BadQuery:
        return np.zeros(parts.shape[1], np.float32)


def default_space(instruments: Instruments, modality: str) -> str:
    """Return the space in which the service answers queries of `modality`, or the first space if it is not measured."""
    usual = instruments.embedder.default_space(modality)
    return usual if usual in instruments.spaces else instruments.spaces[0]


def centred_items(vectors: FloatArray, space: EmbeddingSpace) -> FloatArray:
    """Centre items as in a collection: on their own mean if there are enough, else on the space's prior."""
    enough = len(vectors) >= CENTRE_FROM and space.gallery_prior.any()
    return centre(vectors, vectors.mean(axis=0) if enough else space.gallery_prior, space.blocks)


def galleries_for(line: QueryKind, vectors: SetVectors) -> Iterator[Gallery]:
    """Yield a gallery for every single modality.

    If whole things were embedded, also yield one of items with all modalities, and one of items with all but those of
    the query. The baselines have one vector per item: the picture's, if items have several modalities.
    """
    for modality, rows in vectors.single.items():
        exact = {EXACT: vectors.exact[modality]} if modality in vectors.exact else {}
        yield Gallery(modality, frozenset({modality}), {PREDICTED: rows, **exact}, modality)
    everything = frozenset(vectors.single)
    picture = _PICTURE if _PICTURE in everything else None
    if EVERYTHING in vectors.whole:
        yield Gallery(EVERYTHING, everything, {STORED: vectors.whole[EVERYTHING]}, picture)
    if line.name in vectors.whole and not line.from_outside:
        rest = everything.difference(line.modalities)
        looks_like = picture if picture in rest else None
        yield Gallery(REST, rest, {STORED: vectors.whole[line.name]}, looks_like)
