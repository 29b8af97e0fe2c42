"""Collections, items, queries and results as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from model.seam import FloatArray, Fusion, Value
from search.filters.tree import Filter

Attributes = Mapping[str, Any]
IdArray = npt.NDArray[np.int64]
GroupValue = str | float | bool


@dataclass(frozen=True)
class Tuning:
    """What was fitted on a collection for its queries of one modality in one space.

    `mean` float32 (dimension,) is taken off queries' raw vectors in place of the model's own means. It was fitted to
    `queries` queries for the collection's own items; the recall at 10 of such queries was `before` with the model's
    means and is `after` with fitted ones. It belongs to the space of this `fingerprint` alone.
    """

    modality: str
    fingerprint: str
    mean: FloatArray
    queries: int
    before: float
    after: float
    made_at: datetime


@dataclass(frozen=True)
class Space:
    """One EmbeddingSpace of a collection, with its index.

    `centre` is the mean of the collection's own raw vectors, frozen when a snapshot is made (float32
    (dimension,)); `centre_version` counts how often it was frozen and is 0 while the space's prior is used.
    """

    id: int
    name: str
    fingerprint: str
    dimension: int
    centre: FloatArray
    centre_version: int
    tunings: tuple[Tuning, ...] = ()


@dataclass(frozen=True)
class Collection:
    """Items that are searched together. `last_seq` is the number of its newest log entry.

    `beside` are models whose vectors do not serve: by what they are (`building`, `kept`, `returning`).
    """

    id: int
    name: str
    model: str
    spaces: Mapping[str, Space]
    last_seq: int
    created_at: datetime
    beside: Mapping[str, str] = field(default_factory=dict)


class OnDuplicate(StrEnum):
    """What a job does with an input that has the content of another key's item."""

    LINK = "link"  # keep both, with the same vectors and stored files
    SKIP = "skip"  # leave out the later one
    ERROR = "error"  # quarantine the later one


@dataclass(frozen=True)
class Asset:
    """One file of an item. `name` is a modality or `thumbnail`.

    `location` is relative to the asset store when `stored`, else the absolute path of a file that stays where
    the user keeps it.
    """

    name: str
    location: str
    stored: bool
    media_type: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Item:
    """A sample's row in the catalogue. `source_id` is the source it came from, None if it was put over the API.

    `sample_hash` is the hash of what a model sees of it, None if it was written before such hashes were kept. Nothing
    in a `damaged` item may be believed: its rows do not match their checksum.
    """

    id: int
    key: str
    source_id: int | None
    content_hash: str
    caption: str | None
    attributes: Attributes
    revision: int
    assets: Mapping[str, Asset] = field(default_factory=dict)
    sample_hash: str | None = None
    damaged: bool = False

    @property
    def path(self) -> str | None:
        """Where its picture is kept by the user, None if Anyseek stores it or there is none."""
        picture = self.assets.get("rgb")
        return None if picture is None or picture.stored else picture.location


@dataclass(frozen=True)
class NewItem:
    """A sample to write: its row, assets, and raw vector in every space of the collection.

    `stamp` tells later whether its files have changed, None if they have to be read for that (`indexer.stamps`).
    """

    key: str
    content_hash: str
    vectors: Mapping[str, FloatArray]
    caption: str | None = None
    attributes: Attributes = field(default_factory=dict)
    assets: tuple[Asset, ...] = ()
    source_id: int | None = None
    sample_hash: str | None = None
    stamp: str | None = None


@dataclass(frozen=True)
class Part:
    """One piece of a query: a modality with its value, the key of an item, or a raw `vector` (dimension,) of the space
    that is searched. A negative weight pushes away.

    A vector with a modality is the model's of such a query, one without is that of an item (`Hit.vector`).
    """

    modality: str | None = None
    value: Value | None = None
    item: str | None = None
    weight: float = 1.0
    vector: FloatArray | None = None


@dataclass(frozen=True)
class Words:
    """Words to find in keys, captions and attributes by full text; `weight` is above 0, and beside those of parts."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Query:
    """What to look for: at least one part or words, the number of hits, the space and how parts become one (None lets
    the model choose both), and which items may be hits (None: all).

    The best `offset` hits are left out, and hits below `min_score`. With `vectors`, hits have their items' vectors.
    With `group_by`, the path of an attribute, `k` and `offset` count the groups of items with the same value of it,
    and the `group_size` best items of each group become hits. What `words` find is added by rank.
    """

    parts: tuple[Part, ...]
    k: int = 10
    space: str | None = None
    where: Filter | None = None
    fusion: Fusion | None = None
    offset: int = 0
    min_score: float | None = None
    vectors: bool = False
    group_by: str | None = None
    group_size: int = 1
    words: tuple[Words, ...] = ()

    @property
    def reach(self) -> int:
        """How many of the best hits, or groups, have to be known."""
        return self.offset + self.k


@dataclass(frozen=True)
class Hit:
    """One answer. `score` is in [-1, 1], higher is better: a cosine, or of added rankings what `search.rankings` makes;
    `rank` starts at 1.

    In a query with groups, `group` is the value that its group has in common, and `rank` is that of the group.

    `vector` float32 (dimension,) is the item's raw unit vector in the space that was searched, if the query asked for
    it and it is sound.
    """

    item: Item
    score: float
    rank: int
    vector: FloatArray | None = field(default=None, compare=False)
    group: GroupValue | None = None


@dataclass(frozen=True)
class Results:
    """The hits of one query, best first, the space they were found in, and how its parts became one.

    Several spaces are joined by `+`; `space` is None if no vectors were searched or given. `fusion` is None for a query
    of one part. `note` says what was left out because it is damaged, what is odd about the filter if few hits pass it,
    and how high the scores are if none is high enough.
    """

    hits: tuple[Hit, ...]
    space: str | None
    fusion: Fusion | None = None
    note: str | None = None
