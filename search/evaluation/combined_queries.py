"""The suite `queries`: what queries of several parts find, beside the best of their parts alone.

Every query goes through the search engine, fused as it is by default. The things are emoji of the test split, the rooms
and the photographs that ship with Anyseek; training saw none of them. Photos with measured maps come from a folder.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import base_concept
from anyseek.model.galleries.openmoji import read_concepts
from anyseek.model.galleries.photos import FOLDER, read_photos, read_views
from anyseek.model.modalities.formats.color_palette import palette_of
from anyseek.model.modalities.reading.decode import decode, decode_file, understand
from anyseek.model.seam import Embedder, Sample, Value
from anyseek.search.evaluation.aligned import evenly
from anyseek.search.evaluation.depth_forms import FormsRow, measure_normals, measure_rooms
from anyseek.search.evaluation.emoji_suite import EmojiSources, Material
from anyseek.search.evaluation.measured_maps import mapped_photos
from anyseek.search.evaluation.measures import Estimate, estimate
from anyseek.search.evaluation.photographed_sketches import photographed
from anyseek.search.evaluation.real_collection import RealCollection, real_collection
from anyseek.search.evaluation.score_measures import Judged, ScoreRow, judged, score_rows
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import Filter
from anyseek.search.settings import Limits
from anyseek.search.types import Part, Query

Progress = Callable[[str], None]
FIRST = 10
WORTH, GOOD, LEFT = 1.15, 0.7, 2 / 3  # the aim: so much more than the best part, or above GOOD so many of its misses
KEPT = 0.8  # of the recall of clean drawings, by photographed ones
TOLERATED = 0.02  # what the rest of a class may lose in mean average precision by a negative part
_FEWEST_OF_CLASS = 3
DRAWING = "canny_edge"
_PHOTO, _OTHER = "rgb", "other vendor/"


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

    @property
    def best(self) -> str:
        """The part that finds most alone."""
        return max(self.parts, key=lambda part: self.parts[part].value)

    @property
    def reached(self) -> bool:
        """Whether 15% more are found than by the best part, or, if that is above 0.7, a third fewer missed."""
        alone, together = self.parts[self.best].value, self.together.value
        return 1 - together <= LEFT * (1 - alone) + 1e-9 if alone > GOOD else together >= WORTH * alone


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

    @property
    def reached(self) -> bool:
        """Whether the unwanted fall in most queries and the others keep their places."""
        return self.fell.value > 0.5 > self.rose.value and self.change.value >= -TOLERATED


@dataclass(frozen=True)
class PhotographedRow:
    """R@10 of `queries` drawings in a gallery of `gallery` emoji: clean, photographed from paper and cleaned by us, and
    photographed and left as they are.
    """

    queries: int
    gallery: int
    clean: Estimate
    photographed: Estimate
    as_they_are: Estimate

    @property
    def reached(self) -> bool:
        """Whether photographs keep 0.8 of the recall of clean drawings."""
        return self.photographed.value >= KEPT * self.clean.value


@dataclass(frozen=True)
class Combined:
    """All rows that the model takes; `palette` has palettes of five colours alone.

    `depth_forms` and `normal_forms` say how often the form of a map is guessed right, whatever the model.
    `scores` says what probabilities are worth.
    """

    rows: tuple[CombinedRow, ...]
    negatives: tuple[NegativeRow, ...]
    palette: CombinedRow | None
    depth_forms: FormsRow | None = None
    normal_forms: FormsRow | None = None
    photographed: PhotographedRow | None = None
    scores: tuple[ScoreRow, ...] = ()


@dataclass(frozen=True)
class Asking:
    """Queries of one kind for `gallery` items: the key that each should find, and its parts by name."""

    name: str
    gallery: int
    keys: Sequence[str]
    parts: Mapping[str, Sequence[Part]]
    where: Filter | None = None

    def is_for(self, embedder: Embedder) -> bool:
        """Whether there are queries, and the model takes all of their parts."""
        asked = [part.modality for parts in self.parts.values() for part in parts[:1]]
        return bool(asked) and all(modality is None or modality in embedder.modalities for modality in asked)


def measure_combined(
    embedder: Embedder, home: Path, most: int | None, progress: Progress, data: Path | None = None
) -> Combined:
    """Measure all rows on at most `most` things each. Fetches emoji by npm and pip into `home` on the first run.

    `data` is a folder with the packs of `anyseek.search.evaluation.measured_maps`, None to leave their rows out.

    Rows with a modality that the model does not take are left out. Raises `SourceUnavailable` if emoji cannot be
    fetched or a pack cannot be read, `NotAligned` if `data` has none.
    """
    progress("fetching and rendering emoji")
    material = EmojiSources(home).material(Split.TEST, most)
    samples = {key: Sample({_PHOTO: picture}) for key, picture in material.pictures.items()}
    others = material.queries["other_vendor_picture"]
    samples |= {_OTHER + key: Sample({_PHOTO: value}) for key, value in zip(others.keys, others.values, strict=True)}
    progress(f"embedding {len(samples)} emoji with {embedder.name}")
    with real_collection(embedder, samples) as collection:
        askings = [asking for asking in _emoji(material) if asking.is_for(embedder)]
        rows = [_row(collection, asking, progress) for asking in askings]
        scores = list(_judged(collection, askings, progress))
        negatives = tuple(_negative(collection, material, progress))
        photos = _photographed(collection, material, progress) if DRAWING in embedder.modalities else None
    for name, pictures, askings in _pictured(data, most):
        progress(f"embedding {len(pictures)} {name}")
        with real_collection(embedder, pictures) as collection:
            askings = [asking for asking in askings if asking.is_for(embedder)]
            rows += [_row(collection, asking, progress) for asking in askings]
            scores += _judged(collection, askings, progress)
    several = tuple(row for row in rows if len(row.parts) > 1)
    progress("writing depth and normals of rooms in every convention")
    palette = next((row for row in rows if row not in several), None)
    return Combined(several, negatives, palette, measure_rooms(most), measure_normals(most), photos, score_rows(scores))


def _emoji(material: Material) -> Iterator[Asking]:
    by_kind = {
        name: {key: Part(queries.modality, value) for key, value in zip(queries.keys, queries.values, strict=True)}
        for name, queries in material.queries.items()
    }
    of_item = {key: Part(item=_OTHER + key) for key in by_kind["other_vendor_picture"]}
    colour = {key: Part("color_palette", palette_of(picture, 1)) for key, picture in material.pictures.items()}
    caption, drawing, palette = by_kind["caption"], by_kind["other_vendor_line"], by_kind["palette"]
    where = filter_from_text(f"not @key starts with '{_OTHER}'")
    kinds: tuple[dict[str, dict[str, Part]], ...] = (
        {"palette": palette},
        {"caption": caption, "palette": palette},
        {"drawing": drawing, "palette": palette},
        {"caption": caption, "drawing": drawing, "palette": palette},
        {"item": of_item, "colour": colour},
        {"item": of_item, "palette": palette},
    )
    for parts in kinds:
        yield _asking("emoji", parts, list(material.pictures), where)


def _pictured(data: Path | None, most: int | None) -> Iterator[tuple[str, dict[str, Sample], list[Asking]]]:
    """The things that are pictures alone: what they are, the pictures, and the queries for them."""
    yield "rooms", *_rooms(most)
    yield "photos", *_photos(most)
    for found in mapped_photos(data, most) if data else ():
        caption = {key: Part("caption", text) for key, text in found.captions.items()}
        maps = {name: {key: Part(name, value) for key, value in of.items()} for name, of in found.maps.items()}
        kinds = [{name: parts, "caption": caption} for name, parts in maps.items()]
        keys = list(found.photos)
        yield f"photos of {found.source}", dict(found.photos), [_asking(found.source, one, keys) for one in kinds]


def _photographed(collection: RealCollection, material: Material, progress: Progress) -> PhotographedRow | None:
    """Another vendor's drawings, and photographs of them as a seed draws them; None without any."""
    drawings = material.queries["other_vendor_line"]
    if not drawings.keys:
        return None
    progress(f"photographing {len(drawings.keys)} drawings")
    draws = np.random.default_rng(0)
    photos = [photographed(np.asarray(value), draws) for value in drawings.values]
    limits, where = Limits(), filter_from_text(f"not @key starts with '{_OTHER}'")

    def found(values: Sequence[Value]) -> Estimate:
        parts = [Part(DRAWING, value) for value in values]
        asking = Asking(DRAWING, len(material.pictures), drawings.keys, {DRAWING: parts}, where)
        return estimate(_hits(collection, asking, [(part,) for part in parts]), np.mean)

    return PhotographedRow(
        len(drawings.keys),
        len(material.pictures),
        found(drawings.values),
        found([understand(DRAWING, photo, limits, "a photograph").value for photo in photos]),
        found([decode(DRAWING, photo, limits, "a photograph") for photo in photos]),
    )


def _rooms(most: int | None) -> tuple[dict[str, Sample], list[Asking]]:
    views = evenly(read_views(), most)

    def value(modality: str, file: str, classes: Mapping[str, str] | None = None) -> Value:
        named = None if classes is None else {int(number): name for number, name in classes.items()}
        return decode_file(modality, FOLDER / file, Limits(), named)

    pictures = {view["key"]: Sample({_PHOTO: value(_PHOTO, view["file"])}) for view in views}
    told = {view["key"]: view for view in views}
    caption = {key: Part("caption", view["caption"]) for key, view in told.items()}
    depth = {key: Part("depth", value("depth", view["modalities"]["depth"])) for key, view in told.items()}
    maps = {key: view["modalities"]["semseg"] for key, view in told.items()}
    regions = {key: Part("semseg", value("semseg", found["file"], found["classes"])) for key, found in maps.items()}
    kinds = ({"depth": depth, "caption": caption}, {"semseg": regions, "caption": caption})
    return pictures, [_asking("rooms", parts, list(pictures)) for parts in kinds]


def _photos(most: int | None) -> tuple[dict[str, Sample], list[Asking]]:
    photos = {photo.id: photo for photo in evenly(read_photos(), most)}
    pictures = {key: photo.picture() for key, photo in photos.items()}
    title = {key: Part("caption", photo.title) for key, photo in photos.items()}
    colour = {key: Part("color_palette", palette_of(picture, 1)) for key, picture in pictures.items()}
    asking = _asking("photos", {"title": title, "colour": colour}, list(pictures))
    return {key: Sample({_PHOTO: picture}) for key, picture in pictures.items()}, [asking]


def _asking(
    of: str, parts: Mapping[str, Mapping[str, Part]], keys: Sequence[str], where: Filter | None = None
) -> Asking:
    """Queries for the keys that have all parts."""
    asked = [key for key in keys if all(key in known for known in parts.values())]
    of_parts = {name: [known[key] for key in asked] for name, known in parts.items()}
    return Asking(f"{of}: {' + '.join(parts)}", len(keys), asked, of_parts, where)


def _row(collection: RealCollection, asking: Asking, progress: Progress) -> CombinedRow:
    progress(f"asking {len(asking.keys)} times {asking.name}")
    alone = {name: _hits(collection, asking, [(part,) for part in parts]) for name, parts in asking.parts.items()}
    together = _hits(collection, asking, list(zip(*asking.parts.values(), strict=True)))
    best = max(alone.values(), key=np.mean)
    return CombinedRow(
        asking.name,
        len(asking.keys),
        asking.gallery,
        {name: estimate(hits, np.mean) for name, hits in alone.items()},
        estimate(together, np.mean),
        estimate(together - best, np.mean),
    )


def _judged(collection: RealCollection, askings: Sequence[Asking], progress: Progress) -> Iterator[Judged]:
    """The hits of every part alone, each kind once, and of all combinations."""
    done = set()
    for asking in askings:
        progress(f"asking for probabilities {asking.name}")
        kinds = {name: [(part,) for part in parts] for name, parts in asking.parts.items()}
        kinds[" + ".join(asking.parts)] = list(zip(*asking.parts.values(), strict=True))
        for kind, asked in kinds.items():
            if kind not in done:
                done.add(kind)
                queries = [Query(parts, FIRST, where=asking.where) for parts in asked]
                yield judged(collection, kind, asking.keys, queries)


def _hits(collection: RealCollection, asking: Asking, queries: Sequence[tuple[Part, ...]]) -> npt.NDArray[np.float64]:
    """1 for each query with its own item among the first ten, else 0."""
    found = collection.found([Query(parts, FIRST, where=asking.where) for parts in queries])
    return np.array([key in keys for key, keys in zip(asking.keys, found, strict=True)], np.float64)


def _negative(collection: RealCollection, material: Material, progress: Progress) -> Iterator[NegativeRow]:
    """Each emoji with the caption of another one of its subgroup, drawn by a seed, as a negative part.

    Small subgroups are left out; no row without any other.
    """
    classes = {base_concept(concept.hexcode): concept.subgroup for concept in read_concepts() if concept.subgroup}
    captions = dict(zip(material.queries["caption"].keys, material.queries["caption"].values, strict=True))
    draws, pairs = np.random.default_rng(0), []
    for key in (one for one in material.pictures if one in classes):
        others = [one for one in material.pictures if one != key and classes.get(one) == classes[key]]
        named = [one for one in others if one in captions]
        if named and len(others) > _FEWEST_OF_CLASS:
            pairs.append((key, named[int(draws.integers(len(named)))], frozenset(others)))
    if not pairs:
        return
    progress(f"asking {len(pairs)} times emoji: item - caption")
    where = filter_from_text(f"not @key starts with '{_OTHER}'")
    alone = [Query((Part(item=key),), collection.size, where=where) for key, _, _ in pairs]
    less = [
        Query((Part(item=key), Part("caption", captions[unwanted], weight=-1.0)), collection.size, where=where)
        for key, unwanted, _ in pairs
    ]
    yield _negative_row(len(material.pictures), pairs, collection.found(alone), collection.found(less))


def _negative_row(
    gallery: int,
    pairs: Sequence[tuple[str, str, frozenset[str]]],
    before: Sequence[Sequence[str]],
    after: Sequence[Sequence[str]],
) -> NegativeRow:
    precisions, ranks = np.zeros((2, len(pairs))), np.zeros((2, len(pairs)), np.int64)
    for place, (key, unwanted, others) in enumerate(pairs):
        for side, found in enumerate((before[place], after[place])):
            rest = [one for one in found if one != key]
            ranks[side, place] = rest.index(unwanted)
            precisions[side, place] = _precision([one for one in rest if one != unwanted], others - {unwanted})
    return NegativeRow(
        "emoji: item - caption",
        len(pairs),
        gallery,
        estimate(precisions[0], np.mean),
        estimate(precisions[1], np.mean),
        estimate(precisions[1] - precisions[0], np.mean),
        estimate((ranks[1] > ranks[0]).astype(np.float64), np.mean),
        estimate((ranks[1] < ranks[0]).astype(np.float64), np.mean),
    )


def _precision(found: Sequence[str], right: frozenset[str]) -> float:
    """The average precision of a ranking of everything."""
    places = np.flatnonzero([key in right for key in found]) + 1
    return float((np.arange(1, len(places) + 1) / places).mean())
