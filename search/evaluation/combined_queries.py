"""The suite `queries`: what queries of several parts find, beside the best of their parts alone.

Every query goes through the search engine, fused as it is by default. The things are emoji of the test split, the rooms
and the photographs that ship with Anyseek; training saw none of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.data.concepts import Split, base_concept
from model.galleries.demo import FOLDER, read_views
from model.galleries.openmoji import read_concepts
from model.galleries.photos import read_photos
from model.modalities.formats.color_palette import palette_of
from model.modalities.reading.decode import decode_file
from model.seam import Embedder, Sample, Value
from search.evaluation.aligned import evenly
from search.evaluation.emoji_suite import EmojiSources, Material
from search.evaluation.measures import Estimate, estimate
from search.evaluation.real_collection import RealCollection, real_collection
from search.filters.from_text import filter_from_text
from search.filters.tree import Filter
from search.settings import Limits
from search.types import Part, Query

Progress = Callable[[str], None]
FIRST = 10
WORTH, GOOD, LEFT = 1.15, 0.7, 2 / 3  # the aim: so much more than the best part, or above GOOD so many of its misses
TOLERATED = 0.02  # what the rest of a class may lose in mean average precision by a negative part
_FEWEST_OF_CLASS = 3
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
class Combined:
    """All rows that the model takes; `palette` has palettes of five colours alone."""

    rows: tuple[CombinedRow, ...]
    negatives: tuple[NegativeRow, ...]
    palette: CombinedRow | None


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


def measure_combined(embedder: Embedder, home: Path, most: int | None, progress: Progress) -> Combined:
    """Measure all rows on at most `most` things each. Fetches emoji by npm and pip into `home` on the first run.

    Rows with a modality that the model does not take are left out. Raises `SourceUnavailable` if emoji cannot be
    fetched.
    """
    progress("fetching and rendering emoji")
    material = EmojiSources(home).material(Split.TEST, most)
    samples = {key: Sample({_PHOTO: picture}) for key, picture in material.pictures.items()}
    others = material.queries["other_vendor_picture"]
    samples |= {_OTHER + key: Sample({_PHOTO: value}) for key, value in zip(others.keys, others.values, strict=True)}
    progress(f"embedding {len(samples)} emoji with {embedder.name}")
    with real_collection(embedder, samples) as collection:
        rows = [_row(collection, asking, progress) for asking in _emoji(material) if asking.is_for(embedder)]
        negatives = tuple(_negative(collection, material, progress))
    for name, of in (("rooms", _rooms), ("photos", _photos)):
        pictures, askings = of(most)
        progress(f"embedding {len(pictures)} {name}")
        with real_collection(embedder, pictures) as collection:
            rows += [_row(collection, asking, progress) for asking in askings if asking.is_for(embedder)]
    several = tuple(row for row in rows if len(row.parts) > 1)
    return Combined(several, negatives, next((row for row in rows if row not in several), None))


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
