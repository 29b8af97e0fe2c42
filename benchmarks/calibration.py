"""What `anyseek collections tune` makes of probabilities, on the collections that ship and on packs.

    python -m benchmarks.calibration
    python -m benchmarks.calibration --packs PACKS --limit 250
    python -m benchmarks.calibration --queries 20 --queries 48 --queries 96 --without-means

The demo's rooms and photos, and emoji of the test split: neither the model nor the curves that ship were fitted on
them. Of packs these saw photos, if not these very queries. Each collection is tuned on queries for half of its
items. What is measured are queries for the other half, each asked with its item there and without it: the expected
calibration error of best hits and the log loss of the first ten, before and after. `if exact` is the error that as many
hits have by chance, though their probabilities were exact. A row `all` pools the kinds of a collection. Emoji are tuned
on edges and asked with their own lines; segmentations are painted roughly, as by hand.

With `--queries` only so many of the other half's queries are tuned on, and `--without-means` fits curves alone, as the
end of an index job does (docs/indexing.md).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np

from anyseek.model.data.concepts import Split, split_of
from anyseek.model.galleries.demo import FOLDER, read_views
from anyseek.model.galleries.openmoji import (
    Drawings,
    Rendering,
    draw_svg,
    fetch_wheel,
    keep_groups,
    line_drawing,
    read_concepts,
)
from anyseek.model.galleries.photos import read_photos
from anyseek.model.home import default_home
from anyseek.model.loading import load_embedder
from anyseek.model.modalities.edge_detection import varied_canny
from anyseek.model.modalities.formats.color_palette import palette_of
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.modalities.rough_maps import painted, rounded
from anyseek.model.seam import Embedder, EmbeddingSpace, FloatArray, Regions, Sample, Value
from anyseek.search.curve import Curve
from anyseek.search.evaluation.aligned import evenly
from anyseek.search.evaluation.calibration_error import calibration_error
from anyseek.search.evaluation.emoji_suite import grey
from anyseek.search.evaluation.logistic import sigmoid
from anyseek.search.evaluation.measures import IntArray
from anyseek.search.evaluation.transfer_sets import EVERY, transfer_sets
from anyseek.search.own_curves import FirstHits, centred_as_used, first_hits, judged, part_of, sample_of, try_curve
from anyseek.search.probabilities import Background, curve_of, sort_of
from anyseek.search.query_means import try_mean
from anyseek.search.query_vectors import centre_queries
from anyseek.search.settings import Limits

_AT_ONCE = 16
_DRAWS = 200
_MOST = 10_000
_PHOTO, _EDGES, _COLOURS, _REGIONS = "rgb", "canny_edge", "color_palette", "semseg"
Embed = Callable[[Sequence[Sample], Sequence[str]], dict[str, FloatArray]]


@dataclass(frozen=True)
class Things:
    """Pictures, and queries by kind and by the place of their picture.

    Where `asked` has a kind, too, these are what is measured, and `queries` only what can be tuned on.
    """

    name: str
    pictures: Sequence[Value]
    queries: Mapping[str, Mapping[int, Sample]]
    asked: Mapping[str, Mapping[int, Sample]] = field(default_factory=dict)


@click.command()
@click.option("--packs", type=click.Path(exists=True, file_okay=False, path_type=Path), help="As the transfer suite's.")
@click.option("--model", default="4m-tiny", show_default=True)
@click.option("--limit", type=click.IntRange(80), default=300, show_default=True, help="Items of each collection.")
@click.option("--queries", type=click.IntRange(20), multiple=True, help="How many to tune on; as many as there are.")
@click.option("--without-means", is_flag=True, help="Fit curves alone.")
def main(packs: Path | None, model: str, limit: int, queries: tuple[int, ...], without_means: bool) -> None:
    """Print a row for each collection and kind of query."""
    embedder = load_embedder(model, default_home())
    click.echo(
        "collection | query | tuned on | asked | calibration error | tuned | if exact | log loss | tuned | curve"
    )
    for things in (*_shipped(limit), *(_packed(packs, limit) if packs else ())):
        for line in _lines(embedder, things, queries or (_MOST,), not without_means):
            click.echo(line)


def _shipped(limit: int) -> Iterator[Things]:
    yield _rooms(limit)
    photos = evenly(read_photos(), limit)
    yield _told("photos", [photo.picture() for photo in photos], [photo.title for photo in photos])
    concepts = [one for one in read_concepts() if one.caption and split_of(one.hexcode) is Split.TEST]
    chosen = evenly(concepts, limit)
    with Drawings(fetch_wheel(default_home() / "downloads")) as drawings:
        svgs = [drawings[one.hexcode] for one in chosen]
    pictures = [draw_svg(keep_groups(svg, Rendering.COLOUR)) for svg in svgs]
    lines = {place: Sample({_EDGES: grey(draw_svg(line_drawing(svg)))}) for place, svg in enumerate(svgs)}
    yield dataclasses.replace(_told("emoji", pictures, [one.caption for one in chosen]), asked={_EDGES: lines})


def _told(name: str, pictures: Sequence[Value], captions: list[str]) -> Things:
    """Pictures with captions, and what can be computed from them."""
    told = {place: Sample({"caption": caption}) for place, caption in enumerate(captions)}
    return Things(name, pictures, {"caption": told, **_computed(pictures)})


def _computed(pictures: Sequence[Value]) -> dict[str, Mapping[int, Sample]]:
    edges = [varied_canny(np.asarray(one, np.uint8), np.random.default_rng(row)) for row, one in enumerate(pictures)]
    palettes = [palette_of(np.asarray(one, np.uint8), 2 + row // 2 % 4) for row, one in enumerate(pictures)]
    parts = [part_of(np.asarray(one, np.uint8)) for one in pictures]
    return {
        _EDGES: {row: Sample({_EDGES: one}) for row, one in enumerate(edges)},
        _COLOURS: {row: Sample({_COLOURS: one}) for row, one in enumerate(palettes)},
        _PHOTO: {row: Sample({_PHOTO: one}) for row, one in enumerate(parts)},
    }


def _rooms(limit: int) -> Things:
    views = evenly(read_views(), limit)
    pictures = [decode_file(_PHOTO, FOLDER / view["file"], Limits()) for view in views]
    maps = [view["modalities"][_REGIONS] for view in views]
    regions = {
        place: Sample({_REGIONS: rounded(painted(_read(held["file"], held["classes"]), 10 + place // 2 % 5))})
        for place, held in enumerate(maps)
    }
    told = _told("rooms", pictures, [view["caption"] for view in views])
    return dataclasses.replace(told, queries={**told.queries, _REGIONS: regions})


def _read(file: str, classes: Mapping[str, str]) -> Regions:
    named = {int(number): name for number, name in classes.items()}
    regions = decode_file(_REGIONS, FOLDER / file, Limits(), named)
    assert isinstance(regions, Regions)
    return regions


def _packed(packs: Path, limit: int) -> Iterator[Things]:
    """Each source's photos, with one query of each kind for each of them."""
    for found in transfer_sets(packs, [EVERY], limit):
        if found.by_label:
            continue
        place = {key: row for row, key in enumerate(found.aligned.keys)}
        pictures = [found.aligned.samples[row].values[_PHOTO] for row in range(len(place))]
        queries: dict[str, dict[int, Sample]] = defaultdict(dict)
        for some in found.aligned.queries:
            for sample, own in zip(some.samples, some.own, strict=True):
                queries[some.modality].setdefault(place[str(own)], sample)
        yield Things(found.source, pictures, queries)


def _lines(
    embedder: Embedder, things: Things, counts: Sequence[int] = (_MOST,), with_means: bool = True
) -> Iterator[str]:
    """For each number of queries that are tuned on, a line for each kind of query, and one for all of them."""
    galleries = _vectors(embedder.embed_gallery, [Sample({_PHOTO: one}) for one in things.pictures], embedder.spaces)
    kinds = [_asked(embedder, things, modality, galleries) for modality in things.queries]
    for count in counts:
        tuned = [_tuned(asked, count, with_means) for asked in kinds]
        for asked, one in zip(kinds, tuned, strict=True):
            yield _line(things.name, asked.modality, min(count, len(asked.tuned_on)), [one])
        yield _line(things.name, "all", 0, tuned)


@dataclass(frozen=True)
class _Asked:
    """Queries of one modality in their space: places and raw vectors of those to tune on, and of those held out.

    `things` and `same` are equal where pictures are equally right for the ones and the others.
    """

    modality: str
    space: EmbeddingSpace
    sample: Background
    tuned_on: list[int]
    given: FloatArray
    things: IntArray
    held_out: list[int]
    asked: FloatArray
    same: IntArray


@dataclass(frozen=True)
class _Tuned:
    """The first hits of queries that were held out, and their curve, before and after."""

    before: tuple[FirstHits, Curve]
    after: tuple[FirstHits, Curve]


def _asked(embedder: Embedder, things: Things, modality: str, galleries: Mapping[str, FloatArray]) -> _Asked:
    queries = things.queries[modality]
    space, asked = embedder.spaces[embedder.default_space(modality)], things.asked.get(modality, queries)
    pictures = galleries[space.name]
    tuned_on, held_out = (
        [place for place in sorted(some) if place % 2 == odd] for odd, some in enumerate((queries, asked))
    )
    given, found = (
        _vectors(embedder.embed, [some[place] for place in places], [space.name])[space.name]
        for some, places in ((queries, tuned_on), (asked, held_out))
    )
    sample, count = sample_of(space, pictures, pictures.mean(axis=0)), len(pictures)
    return _Asked(
        modality, space, sample, tuned_on, given, _things(queries, count), held_out, found, _things(asked, count)
    )


def _tuned(asked: _Asked, count: int, with_means: bool) -> _Tuned:
    """Tune on at most `count` queries."""
    space, modality, sample = asked.space, asked.modality, asked.sample
    few = evenly(range(len(asked.tuned_on)), count)
    raw, places = asked.given[few], [asked.tuned_on[row] for row in few]
    fits = with_means and modality not in (_PHOTO, _COLOURS, _REGIONS)
    mean = try_mean(space, modality, raw, sample.vectors, places) if fits else None
    used = centred_as_used(space, modality, raw, mean)
    curve = try_curve(space.name, modality, sample, used, places, asked.things)
    assert curve is not None, "each collection has at least 80 items"
    shipped = curve_of(sort_of([modality]))
    before, after = (
        first_hits(
            sample, centre_queries(space, [modality], asked.asked, means), asked.same[asked.held_out], asked.same
        )
        for means in ({}, {modality: mean.mean} if mean and mean.helps else {})
    )
    return _Tuned((before, shipped), (after, curve.curve if curve.helps else shipped))


def _things(queries: Mapping[int, Sample], pictures: int) -> IntArray:
    """Equal numbers for pictures that are told in the same words: int64 (pictures,)."""
    things, first = np.arange(pictures), dict[Value, int]()
    for place, sample in queries.items():
        (value,) = sample.values.values()
        if isinstance(value, str):
            things[place] = first.setdefault(value, place)
    return things


def _line(name: str, kind: str, tuned_on: int, tuned: Sequence[_Tuned]) -> str:
    before, after = judged([one.before for one in tuned]), judged([one.after for one in tuned])
    exact = _error_if_exact([one.after for one in tuned])
    asked = sum(len(np.unique(one.before[0].asked)) for one in tuned)
    counts = f"{tuned_on or ''} | {asked}"
    errors = (
        f"{before.error_of_best:.3f} | {after.error_of_best:.3f} | {exact:.3f} | {before.loss:.3f} | {after.loss:.3f}"
    )
    own = any(one.before[1] != one.after[1] for one in tuned)
    return f"{name} | {kind} | {counts} | {errors} | {'own' if own else 'as it ships'}"


def _error_if_exact(some: Sequence[tuple[FirstHits, Curve]]) -> float:
    """The calibration error that so many best hits have by chance, though their probabilities were exact."""
    likely = np.concatenate([sigmoid(curve.logits(hits.features))[hits.best] for hits, curve in some])
    draws = np.random.default_rng(0).random((_DRAWS, len(likely))) < likely
    return float(np.mean([calibration_error(likely, right.astype(np.float64)) for right in draws]))


def _vectors(embed: Embed, samples: Sequence[Sample], spaces: Iterable[str]) -> dict[str, FloatArray]:
    """Raw vectors (n, d) by space."""
    names = list(spaces)
    found = [embed(samples[start : start + _AT_ONCE], names) for start in range(0, len(samples), _AT_ONCE)]
    return {name: np.concatenate([rows[name] for rows in found]) for name in names}


if __name__ == "__main__":
    main()
