"""Near-duplicates of a collection: groups of copies of one picture, for example in other sizes.

Two pictures are linked if their files are equal, or if the model's vectors are near and the pictures themselves alike
(`anyseek.search.answers.image_similarity`). Vectors find the candidates: the 32 nearest of each picture, and more where
these yield links: by brute force in small collections, else through the live index. Neither criterion is enough alone:
scenes of one kind have near vectors, and pictures of different things can have the same layout.

A group is its best picture and all pictures directly linked to it, so links do not chain: every member resembles the
best one. The best has the most pixels, then the largest file, then the earliest date taken, then the lowest id. A
picture belongs to one group: that of the best picture it is linked to. Nothing is ever changed or deleted.
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
from anyseek.search.assets.base import AssetStore
from anyseek.search.catalogue import duplicates, items
from anyseek.search.catalogue.collections import Head
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.values import chunks
from anyseek.search.errors import AssetNotFound, StoreCorrupt
from anyseek.search.spaces.base import LiveSpace, Neighbours, top_k
from anyseek.search.types import Asset, IdArray, Item

# Tuned on other photos than those used for the evaluation (docs/querying.md).
MIN_COSINE = 0.4
MIN_IMAGE_SIMILARITY = 0.87
MIN_PREVIEW_SIMILARITY = 0.65  # copies reach 0.8, so this only saves time

_THUMBNAIL = "thumbnail"
_BATCH = 128  # pictures whose neighbours are searched together
_FIRST_K, _K_FACTOR = 32, 4  # neighbours in the first search, and the factor for further ones while links are found
_PREVIEW_SIDE = 16  # pixels: JPEG is decoded to an eighth of its size in less time
_MAX_VIEWS = 512  # cached pictures, 150 kB each
_MAX_BRUTE_FORCE = 20_000  # pictures up to which brute force is faster than the index
_NO_PREVIEW = thumbnail_vector(Image.new("RGB", (1, 1)))  # similar to no picture
_Search = Callable[[FloatArray, int], Neighbours]


@dataclass(frozen=True)
class Copy:
    """A picture of a group other than the best, with its cosine and image similarity to the best, both at most 1.

    Both are 1.0 if the files are equal. `item` has no caption and no attributes, to keep cached results small.
    """

    item: Item
    cosine: float
    likeness: float
    same_file: bool


@dataclass(frozen=True)
class Group:
    """Copies of one picture: the best, and the others, most similar first."""

    best: Item
    copies: tuple[Copy, ...]


@dataclass(frozen=True)
class Duplicates:
    """The groups among a collection's `pictures` pictures, largest first, then by the key of their best.

    `left_out` counts pictures compared only by their files, because their vector or thumbnail is damaged or missing.
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
# By the ids of the first items of two contents, in both directions.
_Links = Mapping[int, Mapping[int, _Link]]


def find_duplicates(database: Database, assets: AssetStore, head: Head, space: str, live: LiveSpace) -> Duplicates:
    """The near-duplicates of a collection; `live` is its space called `space`, and is refreshed to `head`."""
    live.refresh(head)
    with database.read() as session:
        contents = duplicates.picture_hashes(session, head.id)
    ids_by_content: dict[str, list[int]] = defaultdict(list)
    for item_id in sorted(contents):
        ids_by_content[contents[item_id]].append(item_id)
    first = {item_id: ids_by_content[content][0] for item_id, content in contents.items()}
    links, left_out = _links(database, assets, live, first)
    copies = {item_id: ids_by_content[contents[item_id]] for item_id in first.values()}
    linked = [item_id for item_id, content_id in first.items() if links.get(content_id) or len(copies[content_id]) > 1]
    by_id: dict[int, Item] = {}
    for batch in chunks(linked):
        with database.read() as session:
            by_id.update((item.id, item) for item in items.by_ids(session, batch).values() if not item.damaged)
    groups = (_strip_texts(group) for group in _groups(by_id, first, copies, links))
    return Duplicates(tuple(groups), space, len(contents), left_out)


def _strip_texts(group: Group) -> Group:
    copies = tuple(replace(copy, item=_strip_item(copy.item)) for copy in group.copies)
    return Group(_strip_item(group.best), copies)


def _strip_item(item: Item) -> Item:
    return replace(item, caption=None, attributes={})


def _links(database: Database, assets: AssetStore, live: LiveSpace, first: Mapping[int, int]) -> tuple[_Links, int]:
    """The links between contents, each identified by its first item, and the number that cannot be compared."""
    links: dict[int, dict[int, _Link]] = defaultdict(dict)
    thumbnails = _Thumbnails(database, assets)
    ids = sorted(set(first.values()))
    search = _make_search(live, ids)
    compared = 0
    for batch in chunks(ids, _BATCH):
        raise_if_abandoned()
        batch_ids, vectors = _vectors(live, batch)
        compared, k = compared + len(batch_ids), _FIRST_K
        while len(batch_ids):
            raise_if_abandoned()
            neighbours = search(vectors, k)
            new_links = dict(_new_links(_pairs(batch_ids, neighbours, first), links, thumbnails))
            for (left, right), link in new_links.items():
                links[left][right] = links[right][left] = link
            mask = _extension_mask(batch_ids, neighbours, {item_id for pair in new_links for item_id in pair}, k)
            batch_ids, vectors, k = batch_ids[mask], vectors[mask], k * _K_FACTOR
    return links, len(ids) - compared + len(thumbnails.unreadable)


def _make_search(live: LiveSpace, ids: Sequence[int]) -> _Search:
    """A k-nearest search: brute force over the vectors of `ids` up to `_MAX_BRUTE_FORCE`, else the index."""
    if len(ids) > _MAX_BRUTE_FORCE:

        def search_index(vectors: FloatArray, k: int) -> Neighbours:
            with live.open_view() as view:
                return view.search(vectors, k)

        return search_index
    batches = [_vectors(live, batch) for batch in chunks(ids, _BATCH)]
    all_ids = np.concatenate([np.empty(0, np.int64), *(array for array, _ in batches)])
    matrix = np.concatenate([array for _, array in batches]) if batches else np.empty((0, 0), np.float32)

    def search_all(vectors: FloatArray, k: int) -> Neighbours:
        scores = vectors @ matrix.T
        columns = np.argpartition(scores, max(0, len(all_ids) - k), axis=1)[:, -k:]
        return top_k(all_ids[columns], np.take_along_axis(scores, columns, 1), k)

    return search_all


def _vectors(live: LiveSpace, ids: Sequence[int]) -> tuple[IdArray, FloatArray]:
    """The ids, ascending, with a sound vector (n,), and the vectors (n, d)."""
    with live.open_view() as view:
        return view.vectors(np.array(ids, np.int64))


def _pairs(ids: IdArray, neighbours: Neighbours, first: Mapping[int, int]) -> dict[tuple[int, int], float]:
    """The cosines of the pairs of contents with at least `MIN_COSINE`."""
    rows, columns = np.nonzero(neighbours.scores >= MIN_COSINE)
    cosines = np.minimum(neighbours.scores[rows, columns], 1.0).tolist()
    pairs: dict[tuple[int, int], float] = {}
    for left, item_id, cosine in zip(ids[rows].tolist(), neighbours.ids[rows, columns].tolist(), cosines, strict=True):
        right = first.get(item_id)
        if right is not None and right != left:
            pairs[(left, right) if left < right else (right, left)] = cosine
    return pairs


def _new_links(
    pairs: Mapping[tuple[int, int], float], links: _Links, thumbnails: "_Thumbnails"
) -> Iterator[tuple[tuple[int, int], _Link]]:
    """Links for those pairs that are similar and not linked yet."""
    new = [pair for pair in sorted(pairs) if pair[1] not in links.get(pair[0], {})]
    thumbnails.fetch({item_id for pair in new for item_id in pair})
    for pair in thumbnails.similar_previews(new):
        similarity = thumbnails.similarity(*pair)
        if similarity >= MIN_IMAGE_SIMILARITY:
            yield pair, _Link(pairs[pair], similarity)


def _extension_mask(ids: IdArray, neighbours: Neighbours, linked: AnySet[int], k: int) -> npt.NDArray[np.bool_]:
    """Mask (n,) of `ids` whose neighbour list should be extended: it has links and a near last neighbour."""
    if neighbours.ids.shape[1] < k:
        return np.zeros(len(ids), np.bool_)
    has_link = np.array([item_id in linked for item_id in ids.tolist()], np.bool_)
    mask: npt.NDArray[np.bool_] = has_link & (neighbours.scores[:, -1] >= MIN_COSINE)
    return mask


class _Thumbnails:
    """Cache of preview vectors, for all fetched thumbnails, and of views, for the latest.

    `unreadable` are the ids of pictures whose thumbnail cannot be read.
    """

    def __init__(self, database: Database, assets: AssetStore) -> None:
        self.unreadable: set[int] = set()
        self._database = database
        self._assets = assets
        self._previews: dict[int, FloatArray] = {}
        self._thumbnails: dict[int, Asset] = {}
        self._views = lru_cache(_MAX_VIEWS)(lambda item_id: image_vectors(np.asarray(self._read(item_id))))

    def fetch(self, ids: AnySet[int]) -> None:
        """Read the thumbnails that are not cached yet."""
        new = sorted(ids - self._previews.keys())
        with self._database.read() as session:
            by_id = items.by_ids(session, new)
        for item_id in new:
            item = by_id.get(item_id)
            thumbnail = None if item is None or item.damaged else item.assets.get(_THUMBNAIL)
            preview = None if thumbnail is None else self._read_preview(item_id, thumbnail)
            self._previews[item_id] = _NO_PREVIEW if preview is None else preview
            if item is not None and preview is None:
                self.unreadable.add(item_id)

    def similar_previews(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The pairs of fetched pictures whose preview vectors are similar enough for a full comparison."""
        if not pairs:
            return []
        left, right = (np.stack([self._previews[pair[side]] for pair in pairs]) for side in (0, 1))
        return [pairs[row] for row in np.flatnonzero((left * right).sum(axis=1) >= MIN_PREVIEW_SIMILARITY).tolist()]

    def similarity(self, left: int, right: int) -> float:
        """The image similarity of two fetched pictures; -1 if one cannot be read."""
        try:
            return image_similarity(self._views(left), self._views(right))
        except (AssetNotFound, StoreCorrupt):  # deleted in the meantime
            return -1.0

    def _read_preview(self, item_id: int, thumbnail: Asset) -> FloatArray | None:
        self._thumbnails[item_id] = thumbnail
        try:
            return thumbnail_vector(self._read(item_id, _PREVIEW_SIDE))
        except (AssetNotFound, StoreCorrupt):
            return None

    def _read(self, item_id: int, min_side: int | None = None) -> Image.Image:
        """A thumbnail in RGB, which the decoder may shrink to sides of at least `min_side` pixels."""
        with Image.open(io.BytesIO(self._assets.read(self._thumbnails[item_id])), formats=("JPEG",)) as picture:
            if min_side is not None:
                picture.draft("RGB", (min_side, min_side))
            picture.load()
            return picture if picture.mode == "RGB" else picture.convert("RGB")


def _groups(
    by_id: Mapping[int, Item], first: Mapping[int, int], copies_of: Mapping[int, Sequence[int]], links: _Links
) -> list[Group]:
    """Greedy grouping: the best ungrouped picture takes every ungrouped picture linked to it."""
    grouped: set[int] = set()
    groups = []
    for item in sorted(by_id.values(), key=_quality_key):
        if item.id in grouped:
            continue
        copies = [
            Copy(by_id[item_id], link.cosine, link.likeness, link is _SAME_FILE)
            for item_id, link in _linked_items(first[item.id], copies_of, links)
            if item_id in by_id and item_id not in grouped and item_id != item.id
        ]
        if copies:
            grouped.update((item.id, *(copy.item.id for copy in copies)))
            groups.append(Group(item, tuple(sorted(copies, key=lambda copy: (-copy.likeness, copy.item.key)))))
    return sorted(groups, key=lambda group: (-len(group.copies), group.best.key))


def _linked_items(
    content_id: int, copies_of: Mapping[int, Sequence[int]], links: _Links
) -> Iterator[tuple[int, _Link]]:
    """The items with this content or a linked one, each with its link."""
    yield from ((item_id, _SAME_FILE) for item_id in copies_of[content_id])
    for linked_id, link in links.get(content_id, {}).items():
        yield from ((item_id, link) for item_id in copies_of[linked_id])


def _quality_key(item: Item) -> tuple[float, int, str, int]:
    """Sort key, best first: pixels, file size, date taken, id."""
    number = partial(_numeric_attribute, item)
    picture, taken = item.assets.get("rgb"), item.attributes.get("taken")
    size = picture.size_bytes if picture else 0
    return -number("width") * number("height"), -size, taken if isinstance(taken, str) else "~", item.id


def _numeric_attribute(item: Item, name: str) -> float:
    """A numeric attribute from 0 to 1e9; 0 if it is not a finite number, since users may write anything."""
    value = item.attributes.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return min(max(float(value), 0.0), 1e9)
