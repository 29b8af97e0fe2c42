"""Near-duplicates of a collection: groups of pictures that are the same one, such as copies in other sizes.

Two pictures are linked if their files are equal, or if the model's vectors are near and the pictures themselves alike
(`anyseek.search.answers.image_similarity`). Vectors find the candidates: the 32 nearest of each picture, and more where
these bring links, by comparing all where they are few enough, else through the live index. Neither is enough alone:
scenes of one kind have near vectors, and pictures of different things can have one layout.

A group is its best picture and all that are linked with it directly, so links do not chain: each of a group's pictures
resembles the best one. The best has the most pixels, then the largest file, then it was taken or put first. A picture
belongs to one group, that of the best picture which it is linked with. Nothing is ever changed or deleted.
"""

import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AnySet
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.model.seam import FloatArray
from anyseek.search.answers.image_similarity import image_similarity, image_vectors, thumbnail_vector
from anyseek.search.assets import AssetStore
from anyseek.search.catalogue import duplicates, items
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.values import chunks
from anyseek.search.errors import AssetNotFound, StoreCorrupt
from anyseek.search.spaces.base import LiveSpace, Neighbours, top_k
from anyseek.search.types import Asset, IdArray, Item

# Chosen on photos of other sources than those that measured them (docs/querying.md).
MIN_COSINE = 0.4
MIN_IMAGE_SIMILARITY = 0.87
MIN_PREVIEW_SIMILARITY = 0.65  # copies have 0.8, so this only saves time

_THUMBNAIL = "thumbnail"
_AT_ONCE = 128  # pictures whose neighbours are looked for together
_FIRST_LOOK, _DEEPER = 32, 4  # how many of the nearest are looked at, and how many times more while that finds links
_GLANCED_AT = 16  # the least side of a picture that is glanced at: JPEG is decoded to an eighth in less time
_VIEWS = 512  # of so many pictures are kept, of 150 kB each
_ALL_COMPARED = 20_000  # up to so many pictures every vector is multiplied with every other, which is faster
_UNSEEN = thumbnail_vector(Image.new("RGB", (1, 1)))  # like no picture
_Search = Callable[[FloatArray, int], Neighbours]


@dataclass(frozen=True)
class Copy:
    """A picture of a group besides its best one, and how near to that it is: cosine and likeness, both at most 1.

    Both are 1.0 where the files are equal. Items have neither caption nor attributes here, of which many would be kept.
    """

    item: Item
    cosine: float
    likeness: float
    same_file: bool


@dataclass(frozen=True)
class Group:
    """Pictures that are the same one: the best, and the others, most alike first."""

    best: Item
    copies: tuple[Copy, ...]


@dataclass(frozen=True)
class Duplicates:
    """The groups of a collection, largest first and then by the key of their best, among `pictures` pictures.

    `left_out` counts pictures that could be compared by their files alone: their vector or their thumbnail is damaged
    or lost.
    """

    groups: tuple[Group, ...]
    space: str
    pictures: int
    left_out: int


@dataclass(frozen=True)
class _Link:
    cosine: float
    likeness: float


_SAME_FILE = _Link(1.0, 1.0)
# By the first ids of two contents, in both directions.
_Links = Mapping[int, Mapping[int, _Link]]


def find_duplicates(database: Database, assets: AssetStore, head: Head, space: str, live: LiveSpace) -> Duplicates:
    """The near-duplicates of a collection; `live`, its space called `space`, is brought up to `head`."""
    live.refresh(head)
    with database.read() as session:
        contents = duplicates.picture_hashes(session, head.id)
    holders: dict[str, list[int]] = defaultdict(list)
    for item_id in sorted(contents):
        holders[contents[item_id]].append(item_id)
    first = {item_id: holders[content][0] for item_id, content in contents.items()}
    links, left_out = _links(database, assets, live, first)
    alike = {item_id: holders[contents[item_id]] for item_id in first.values()}
    linked = [item_id for item_id, of in first.items() if links.get(of) or len(alike[of]) > 1]
    held: dict[int, Item] = {}
    for some in chunks(linked):
        with database.read() as session:
            held.update((item.id, item) for item in items.by_ids(session, some).values() if not item.damaged)
    groups = (_without_texts(group) for group in _groups(held, first, alike, links))
    return Duplicates(tuple(groups), space, len(contents), left_out)


def _without_texts(group: Group) -> Group:
    copies = tuple(replace(copy, item=_without_texts_of(copy.item)) for copy in group.copies)
    return Group(_without_texts_of(group.best), copies)


def _without_texts_of(item: Item) -> Item:
    return replace(item, caption=None, attributes={})


def _links(database: Database, assets: AssetStore, live: LiveSpace, first: Mapping[int, int]) -> tuple[_Links, int]:
    """The links between contents, each known by its first item, and how many of them cannot be compared."""
    links: dict[int, dict[int, _Link]] = defaultdict(dict)
    pictures = _Thumbnails(database, assets)
    ids = sorted(set(first.values()))
    search = _search_among(live, ids)
    compared = 0
    for some in chunks(ids, _AT_ONCE):
        raise_if_abandoned()
        held, vectors = _vectors(live, some)
        compared, k = compared + len(held), _FIRST_LOOK
        while len(held):
            raise_if_abandoned()
            near = search(vectors, k)
            found = dict(_new_links(_pairs(held, near, first), links, pictures))
            for (one, other), link in found.items():
                links[one][other] = links[other][one] = link
            deeper = _extension_mask(held, near, {item_id for pair in found for item_id in pair}, k)
            held, vectors, k = held[deeper], vectors[deeper], k * _DEEPER
    return links, len(ids) - compared + len(pictures.lacking)


def _search_among(live: LiveSpace, ids: Sequence[int]) -> _Search:
    """What finds the nearest of vectors: those of `ids`, all compared, or any in the index where these are many."""
    if len(ids) > _ALL_COMPARED:

        def search_index(vectors: FloatArray, k: int) -> Neighbours:
            with live.open_view() as view:
                return view.search(vectors, k)

        return search_index
    read = [_vectors(live, some) for some in chunks(ids, _AT_ONCE)]
    held = np.concatenate([np.empty(0, np.int64), *(part for part, _ in read)])
    among = np.concatenate([part for _, part in read]) if read else np.empty((0, 0), np.float32)

    def search_all(vectors: FloatArray, k: int) -> Neighbours:
        scores = vectors @ among.T
        places = np.argpartition(scores, max(0, len(held) - k), axis=1)[:, -k:]
        return top_k(held[places], np.take_along_axis(scores, places, 1), k)

    return search_all


def _vectors(live: LiveSpace, ids: Sequence[int]) -> tuple[IdArray, FloatArray]:
    """Those of `ids` that have a sound vector, ascending, and the vectors."""
    with live.open_view() as view:
        return view.vectors(np.array(ids, np.int64))


def _pairs(held: IdArray, near: Neighbours, first: Mapping[int, int]) -> dict[tuple[int, int], float]:
    """The cosines of pairs of contents that are near enough."""
    rows, places = np.nonzero(near.scores >= MIN_COSINE)
    cosines = np.minimum(near.scores[rows, places], 1.0).tolist()
    found: dict[tuple[int, int], float] = {}
    for one, item_id, cosine in zip(held[rows].tolist(), near.ids[rows, places].tolist(), cosines, strict=True):
        other = first.get(item_id)
        if other is not None and other != one:
            found[(one, other) if one < other else (other, one)] = cosine
    return found


def _new_links(
    pairs: Mapping[tuple[int, int], float], links: _Links, pictures: "_Thumbnails"
) -> Iterator[tuple[tuple[int, int], _Link]]:
    """The links among pairs that are not linked yet."""
    new = [pair for pair in sorted(pairs) if pair[1] not in links.get(pair[0], {})]
    pictures.fetch({item_id for pair in new for item_id in pair})
    for pair in pictures.alike_at_a_glance(new):
        alike = pictures.likeness(*pair)
        if alike >= MIN_IMAGE_SIMILARITY:
            yield pair, _Link(pairs[pair], alike)


def _extension_mask(held: IdArray, near: Neighbours, linked: AnySet[int], k: int) -> npt.NDArray[np.bool_]:
    """Of which of `held` more neighbours should be looked at: these brought links, and the last was near enough."""
    if near.ids.shape[1] < k:
        return np.zeros(len(held), np.bool_)
    brought = np.array([item_id in linked for item_id in held.tolist()], np.bool_)
    worth: npt.NDArray[np.bool_] = brought & (near.scores[:, -1] >= MIN_COSINE)
    return worth


class _Thumbnails:
    """Thumbnails at a glance, all of them kept, and their views, the last ones kept.

    `lacking` are the ids of pictures whose thumbnail cannot be read.
    """

    def __init__(self, database: Database, assets: AssetStore) -> None:
        self.lacking: set[int] = set()
        self._database = database
        self._assets = assets
        self._glances: dict[int, FloatArray] = {}
        self._small: dict[int, Asset] = {}
        self._views = lru_cache(_VIEWS)(lambda item_id: image_vectors(np.asarray(self._read(item_id))))

    def fetch(self, ids: AnySet[int]) -> None:
        """Read those of the thumbnails that are not known yet."""
        new = sorted(ids - self._glances.keys())
        with self._database.read() as session:
            held = items.by_ids(session, new)
        for item_id in new:
            item = held.get(item_id)
            small = None if item is None or item.damaged else item.assets.get(_THUMBNAIL)
            seen = None if small is None else self._glance(item_id, small)
            self._glances[item_id] = _UNSEEN if seen is None else seen
            if item is not None and seen is None:
                self.lacking.add(item_id)

    def alike_at_a_glance(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of some pairs of fetched pictures of which a glance does not tell that they differ."""
        if not pairs:
            return []
        ones, others = (np.stack([self._glances[pair[side]] for pair in pairs]) for side in (0, 1))
        return [pairs[row] for row in np.flatnonzero((ones * others).sum(axis=1) >= MIN_PREVIEW_SIMILARITY).tolist()]

    def likeness(self, one: int, other: int) -> float:
        """How alike two fetched pictures are; -1 where one cannot be read."""
        try:
            return image_similarity(self._views(one), self._views(other))
        except (AssetNotFound, StoreCorrupt):  # it was deleted meanwhile
            return -1.0

    def _glance(self, item_id: int, small: Asset) -> FloatArray | None:
        self._small[item_id] = small
        try:
            return thumbnail_vector(self._read(item_id, _GLANCED_AT))
        except (AssetNotFound, StoreCorrupt):
            return None

    def _read(self, item_id: int, least: int | None = None) -> Image.Image:
        """A thumbnail in RGB, whose decoder may make it smaller, to sides of `least` pixels."""
        with Image.open(io.BytesIO(self._assets.read(self._small[item_id])), formats=("JPEG",)) as picture:
            if least is not None:
                picture.draft("RGB", (least, least))
            picture.load()
            return picture if picture.mode == "RGB" else picture.convert("RGB")


def _groups(
    held: Mapping[int, Item], first: Mapping[int, int], alike: Mapping[int, Sequence[int]], links: _Links
) -> list[Group]:
    """The best picture that is in no group yet takes all that are linked with it, until none is left."""
    taken: set[int] = set()
    groups = []
    for item in sorted(held.values(), key=_quality_key):
        if item.id in taken:
            continue
        copies = [
            Copy(held[item_id], link.cosine, link.likeness, link is _SAME_FILE)
            for item_id, link in _linked_items(first[item.id], alike, links)
            if item_id in held and item_id not in taken and item_id != item.id
        ]
        if copies:
            taken.update((item.id, *(copy.item.id for copy in copies)))
            groups.append(Group(item, tuple(sorted(copies, key=lambda copy: (-copy.likeness, copy.item.key)))))
    return sorted(groups, key=lambda group: (-len(group.copies), group.best.key))


def _linked_items(content: int, alike: Mapping[int, Sequence[int]], links: _Links) -> Iterator[tuple[int, _Link]]:
    """The items with this content or one linked to it, with their links to it."""
    yield from ((item_id, _SAME_FILE) for item_id in alike[content])
    for other, link in links.get(content, {}).items():
        yield from ((item_id, link) for item_id in alike[other])


def _quality_key(item: Item) -> tuple[float, int, str, int]:
    """What orders pictures, the best first: pixels, size of the file, when it was taken, when it was put."""
    number = partial(_number, item)
    picture, taken = item.assets.get("rgb"), item.attributes.get("taken")
    size = picture.size_bytes if picture else 0
    return -number("width") * number("height"), -size, taken if isinstance(taken, str) else "~", item.id


def _number(item: Item, name: str) -> float:
    """An attribute that people may have written themselves, 0 where it is no usable number."""
    value = item.attributes.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return min(max(float(value), 0.0), 1e9)
