"""Fits the curves from which hits get their probabilities, on collections of real photos (`packs`).

    python -m anyseek.search.evaluation.curves DATA [--limit 250]

Each query is asked of a collection that has its item, of the same without that item, and a few of collections that its
item never was in. Captions, edges, maps and parts of pictures are also asked with the picture's palette, as rankings of
two spaces. What is measured is left out: the curve of a collection's row was fitted on all others.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from anyseek.model.data.aligned import AlignedSet, QuerySet, evenly
from anyseek.model.modalities.formats.color_palette import palette_of
from anyseek.model.registry.loading import load_embedder
from anyseek.model.seam import Embedder, FloatArray, Sample
from anyseek.search.confidence.probabilities import (
    Background,
    Curve,
    Numbers,
    Sort,
    Standing,
    background,
    curve_of,
    features_of,
    sort_of,
    standing,
    together,
)
from anyseek.search.evaluation.calibration import calibration_error, logistic, sigmoid
from anyseek.search.evaluation.packs import PHOTO, photo_collections
from anyseek.search.query.rankings import Ranking, fused, ranking_of
from anyseek.search.query.vectors import centre_queries
from anyseek.search.settings import read_settings

_FIRST = 10
_DEPTH = 100  # of each ranking
_PALETTE = "color_palette"
_MOST_QUERIES = 400  # of a kind
_STRANGERS = 40  # queries of a kind that are asked of every other collection
_IN_UNION = 100  # queries of a kind that are asked of all collections together
_FEWEST = 10
_AT_ONCE = 32
_RIDGE = 1e-4
_KEPT = (0.2, 0.8)  # of a picture's sides, in a query by a part of it


@dataclass(frozen=True)
class Vectors:
    """Queries of one modality: raw unit vectors (n, d) in their usual space."""

    modality: str
    space: str
    rows: FloatArray


@dataclass(frozen=True)
class Asked:
    """Queries of one kind: the vectors of their parts, each a ranking of its own, and the row of each one's item."""

    kind: str
    parts: tuple[Vectors, ...]
    own: npt.NDArray[np.int64]

    @property
    def sort(self) -> Sort:
        return sort_of([part.modality for part in self.parts], len(self.parts))


@dataclass(frozen=True)
class Measured:
    """A collection: raw vectors of its pictures by space, and queries."""

    name: str
    gallery: Mapping[str, FloatArray]
    asked: Sequence[Asked]


@dataclass(frozen=True)
class Pairs:
    """First hits: `features` (n, 4) as `Curve` takes them, whether each is right, its rank from 0, and its weight."""

    collection: str
    kind: str
    sort: Sort
    features: Numbers
    right: Numbers
    ranks: npt.NDArray[np.int64]
    weights: Numbers


def measured(embedder: Embedder, collection: AlignedSet) -> Measured:
    """Embed a set's pictures and queries, with palettes, the pictures themselves and parts of them."""
    keys = collection.keys
    place = {key: row for row, key in enumerate(keys)}
    pictures = [Sample({PHOTO: collection.samples[row].values[PHOTO]}) for row in range(len(keys))]
    gallery = _embedded(pictures, list(embedder.spaces), embedder, of_items=True)
    few = range(0, len(keys), 2)
    kinds = {
        "the same picture": [pictures[row] for row in few],
        "a part of it": [Sample({PHOTO: _middle(_pixels(pictures[row]))}) for row in few],
    }
    asked = [_asked(embedder, kind, PHOTO, samples, list(few)) for kind, samples in kinds.items()]
    palettes = [Sample({"color_palette": palette_of(_pixels(pictures[row]), 2 + row % 4)}) for row in few]
    of_colours = _asked(embedder, _PALETTE, _PALETTE, palettes, list(few))
    asked += [_of_set(embedder, queries, place) for queries in collection.queries]
    asked += [of_colours, *(_beside(each, of_colours) for each in asked[1:])]
    return Measured(collection.name, gallery, [each for each in asked if len(each.own) >= _FEWEST])


def _beside(asked: Asked, others: Asked) -> Asked:
    """Those of two kinds that are for the same items, as one query of two rankings each."""
    _, one, other = np.intersect1d(asked.own, others.own, return_indices=True)
    some, rest = _some(asked, one), _some(others, other)
    return Asked(f"{asked.kind} + {others.kind}", some.parts + rest.parts, some.own)


def _of_set(embedder: Embedder, queries: QuerySet, place: Mapping[str, int]) -> Asked:
    chosen = evenly([row for row, key in enumerate(queries.own) if key in place], _MOST_QUERIES)
    samples = [queries.samples[row] for row in chosen]
    own = [place[key] for row in chosen if (key := queries.own[row]) is not None]
    return _asked(embedder, queries.name, queries.modality, samples, own)


def _asked(embedder: Embedder, kind: str, modality: str, samples: Sequence[Sample], own: Sequence[int]) -> Asked:
    space = embedder.default_space(modality)
    vectors = _embedded(samples, [space], embedder)[space]
    return Asked(kind, (Vectors(modality, space, vectors),), np.array(own, np.int64))


def _embedded(
    samples: Sequence[Sample], spaces: Sequence[str], embedder: Embedder, of_items: bool = False
) -> dict[str, FloatArray]:
    embed = embedder.embed_gallery if of_items else embedder.embed
    rows: dict[str, list[FloatArray]] = {
        space: [np.zeros((0, embedder.spaces[space].dimension), np.float32)] for space in spaces
    }
    for start in range(0, len(samples), _AT_ONCE):
        for space, found in embed(samples[start : start + _AT_ONCE], spaces).items():
            rows[space].append(found)
    return {space: np.concatenate(found) for space, found in rows.items()}


def _pixels(sample: Sample) -> npt.NDArray[np.uint8]:
    return np.asarray(sample.values[PHOTO], np.uint8)


def _middle(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The part of a picture (h, w, 3) that a query by a region shows: its middle, 0.6 of each side."""
    (top, bottom), (left, right) = ([int(share * side) for share in _KEPT] for side in picture.shape[:2])
    return np.ascontiguousarray(picture[top:bottom, left:right])


def pairs(embedder: Embedder, collections: Sequence[Measured]) -> Iterator[Pairs]:
    """The first hits of all queries in all collections, and of some in all collections together."""
    draws = np.random.default_rng(0)
    for held in collections:
        for asked in held.asked:
            yield _pairs(embedder, held, asked, asked.own)
            yield _pairs(embedder, held, asked, asked.own, without=True)
        for other in collections:
            for asked in other.asked if other is not held else ():
                if asked.kind != _PALETTE:  # colours are everywhere
                    drawn = draws.permutation(len(asked.own))[:_STRANGERS]
                    yield _pairs(embedder, held, _some(asked, drawn), np.full(len(drawn), -1))

    whole = {space: np.concatenate([held.gallery[space] for held in collections]) for space in collections[0].gallery}
    before = 0
    for held in collections:
        union = Measured(held.name, whole, ())
        for asked in held.asked:
            some = _some(asked, np.arange(min(len(asked.own), _IN_UNION)))
            own = some.own + before
            yield _pairs(embedder, union, some, own)
            yield _pairs(embedder, union, some, own, without=True)
        before += len(next(iter(held.gallery.values())))


def _some(asked: Asked, chosen: npt.NDArray[np.int64]) -> Asked:
    parts = tuple(dataclasses.replace(part, rows=part.rows[chosen]) for part in asked.parts)
    return Asked(asked.kind, parts, asked.own[chosen])


def _pairs(
    embedder: Embedder, held: Measured, asked: Asked, own: npt.NDArray[np.int64], without: bool = False
) -> Pairs:
    samples = [_sample(embedder, held, part) for part in asked.parts]
    vectors = [centre_queries(embedder.spaces[part.space], [part.modality], part.rows) for part in asked.parts]
    sort, features, right = asked.sort, [], []
    for queries, row in zip(zip(*vectors, strict=True), own.tolist(), strict=True):
        hidden = row if without else None
        rankings = [_ranking(sample, query, hidden) for sample, query in zip(samples, queries, strict=True)]
        stood = together([one.standing for one in rankings if one.standing is not None], [1.0] * len(rankings))
        order = fused(rankings).ids[:_DEPTH].tolist()
        features.append(_fitted_to(stood, order))
        right.append(np.array(order[:_FIRST]) == row)
    count = len(own) * _FIRST
    weight = 1.0 if (own >= 0).all() and not without else 0.5
    return Pairs(
        held.name,
        asked.kind,
        sort,
        np.concatenate(features) * _counted(sort),
        np.concatenate(right).astype(np.float64),
        np.tile(np.arange(_FIRST), len(own)),
        np.full(count, weight / count * (1 if (own >= 0).all() else 0.2)),
    )


def _sample(embedder: Embedder, held: Measured, part: Vectors) -> Background:
    """All pictures of a collection."""
    space, raw = embedder.spaces[part.space], held.gallery[part.space]
    return background(np.arange(len(raw)), raw, raw.mean(axis=0), space.gallery_prior, space.blocks, len(raw))


def _ranking(sample: Background, query: FloatArray, hidden: int | None) -> Ranking:
    """What a query (d,) finds first, but for the item that is hidden."""
    scores = sample.vectors @ query
    order = np.argsort(-scores, kind="stable")[: _DEPTH + 1]
    order = order if hidden is None else order[order != hidden]
    found = scores[order].astype(np.float64)
    return ranking_of(order, found, standing(sample, query, order, found))


def _fitted_to(stood: Standing, order: Sequence[int]) -> Numbers:
    """The features of the first hits; what they have in common with the collection counts where it is little."""
    features = features_of(stood, order)[:_FIRST]
    features[:, 2] = np.minimum(features[:, 2], 0.0)
    return features


def _counted(sort: Sort) -> Numbers:
    """Which features count: of pictures, the last two do not help where they were left out.

    Of several rankings the size would raise probabilities, by little, and far beyond the largest collection here.
    """
    left_out = {Sort.PICTURES: (2, 3), Sort.SEVERAL: (3,)}
    counts = np.ones(4)
    counts[list(left_out.get(sort, ()))] = 0.0
    return counts


def fitted(some: Sequence[Pairs]) -> Curve:
    """The logistic curve nearest to these hits, each kind of query of a collection counting as much."""
    features = np.concatenate([each.features for each in some])
    right = np.concatenate([each.right for each in some])
    weights = np.concatenate([each.weights for each in some])
    columns = np.column_stack([np.ones(len(features)), features])
    ridge = np.array([0.0, 1.0, 1.0, 0.01, 1.0]) * _RIDGE * weights.sum()
    return Curve(*logistic(columns, right, weights, ridge).tolist())


def applied(curve: Curve, some: Pairs) -> Numbers:
    return sigmoid(curve.logits(some.features))


def _left_out(everything: Sequence[Pairs], sort: Sort) -> Iterator[str]:
    """A line for each collection, by the curve of all others, and one for all of them."""
    chosen = [each for each in everything if each.sort is sort]
    guesses = []
    names = list(dict.fromkeys(each.collection for each in chosen))
    for name in names:
        others = [each for each in chosen if each.collection != name]
        if not any(each.right.any() for each in others):
            continue
        curve = fitted(others)
        guesses += [(each, applied(curve, each)) for each in chosen if each.collection == name]
    for shown in (*dict.fromkeys(each.collection for each, _ in guesses), None):
        some = [(each, guess) for each, guess in guesses if shown in (None, each.collection)]
        guess, right = np.concatenate([guess for _, guess in some]), np.concatenate([each.right for each, _ in some])
        first = np.concatenate([each.ranks for each, _ in some]) == 0
        of_first = calibration_error(guess[first], right[first])
        yield (
            f"  {shown or 'all of them':24} {calibration_error(guess, right):.3f} of {len(guess):7,} hits, "
            f"{of_first:.3f} of {first.sum():6,} best ones"
        )


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="4m-tiny", show_default=True)
@click.option("--limit", type=int, default=250, show_default=True, help="Pictures of each collection.")
def main(data: Path, model: str, limit: int) -> None:
    """Fit the curves on the packs in DATA, and print the calibration error where each collection was left out."""
    settings = read_settings()
    embedder = load_embedder(model, settings.home, settings.device)
    collections = [measured(embedder, collection) for collection in photo_collections(data, limit)]
    everything = list(pairs(embedder, collections))
    for sort in Sort:
        curve = fitted([each for each in everything if each.sort is sort])
        numbers = dataclasses.astuple(curve)
        click.echo(f"{sort}: Curve({', '.join(f'{number:.3f}' for number in numbers)}); in use: {curve_of(sort)}")
        for line in _left_out(everything, sort):
            click.echo(line)


if __name__ == "__main__":
    main()
