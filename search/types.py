"""Collections, items, queries and results as frozen dataclasses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.reading.encoded import Understood
from anyseek.model.seam import FloatArray, Fusion, Value
from anyseek.search.answers.explanation import Explanation
from anyseek.search.filters.tree import Filter

Attributes = Mapping[str, Any]
PREDICTED = "predicted"  # the member of attributes that nobody writes (`anyseek.indexer.attributes`)
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
    def version(self) -> str:
        """A name for its state: another after each change, and when the key is given to another item."""
        return f"{self.id}-{self.revision}"

    @cached_property
    def told_size(self) -> int:
        """How many characters its caption has and its attributes have as JSON; kept, as items are that many ask for."""
        return len(self.caption or "") + len(json.dumps(dict(self.attributes)))

    @property
    def path(self) -> str | None:
        """Where its picture is kept by the user, None if Anyseek stores it or there is none."""
        picture = self.assets.get("rgb")
        return None if picture is None or picture.stored else picture.location


@dataclass(frozen=True)
class NewItem:
    """A sample to write: its row, assets, and raw vector in every space of the collection.

    `stamp` tells later whether its files have changed, None if they have to be read for that
    (`anyseek.indexer.source_inputs`).
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

    A vector with a modality is the model's of such a query, one without is that of an item (`Hit.vector`). The item is
    of the collection that is searched unless `collection` names another.
    `understood` says how the file of a value was read, where that had to be guessed or was told.
    """

    modality: str | None = None
    value: Value | None = None
    item: str | None = None
    weight: float = 1.0
    vector: FloatArray | None = None
    collection: str | None = None
    understood: Understood | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Words:
    """Words to find in keys, captions and attributes by full text; `weight` is above 0, and beside those of parts."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Query:
    """What to look for: at least one part or words, the number of hits, the space and how parts become one (None lets
    the model choose both), and which items may be hits (None: all).

    The best `offset` hits are left out, and hits below `min_score` or `min_probability`. With `vectors`, hits have
    their items' vectors.
    With `group_by`, the path of an attribute, `k` and `offset` count the groups of items with the same value of it,
    and the `group_size` best items of each group become hits. What `words` find is added by rank. Of `facets`, paths of
    attributes, the values of all items that pass the filter are counted. A `cursor` is `Results.following` of a page:
    the hits on the pages up to that one are left out. In each of several `spaces` the same is asked, and their rankings
    are added.
    The first `explain` hits are explained, and the items `explain_keys`, hits or not.
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
    facets: tuple[str, ...] = ()
    cursor: str | None = None
    spaces: tuple[str, ...] = ()
    min_probability: float | None = None
    explain: int = 0
    explain_keys: tuple[str, ...] = ()

    @property
    def is_explained(self) -> bool:
        """Whether it asks for explanations."""
        return bool(self.explain or self.explain_keys)

    @property
    def reach(self) -> int:
        """How many of the best hits, or groups, have to be known."""
        return self.offset + self.k


@dataclass(frozen=True)
class ValueCount:
    """A text or a truth value, and how many items have it."""

    value: str | bool
    items: int


@dataclass(frozen=True)
class FieldCounts:
    """One attribute by its path: how many items have it, and what its values are.

    `values` are its most frequent texts and truth values, of `distinct` texts in all. `numbers` and `moments` are the
    smallest and the largest of its values of that kind, moments in seconds since 1970; None if it has none.
    """

    field: str
    items: int
    distinct: int
    values: tuple[ValueCount, ...] = ()
    numbers: tuple[float, float] | None = None
    moments: tuple[float, float] | None = None


@dataclass(frozen=True)
class Hit:
    """One answer. `score` is in [-1, 1], higher is better: a cosine, or of added rankings what `search.fusing` makes;
    `rank` starts at 1.

    `probability`, 0 to 1, says how likely the item is what was asked for (`anyseek.search.confidence.probabilities`).
    Within one collection and without groups it never rises from hit to hit. It is None if words alone were looked for,
    or there are too few items to compare with.

    In a query with groups, `group` is the value that its group has in common, and `rank` is that of the group.

    `vector` float32 (dimension,) is the item's raw unit vector in the space that was searched, if the query asked for
    it and it is sound. `collection` is given where several were searched.
    """

    item: Item
    score: float
    rank: int
    vector: FloatArray | None = field(default=None, compare=False)
    group: GroupValue | None = None
    collection: str | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Results:
    """The hits of one query, best first, the space they were found in, and how its parts became one.

    Several spaces are joined by `+`; `space` is None if no vectors were searched or given. `fusion` is None for a query
    of one part. `note` says what was left out because it is damaged, what is odd about the filter if few hits pass it,
    how high scores and probabilities are if none is high enough, and that nothing good was
    found. `facets` are those that the query asked for, in its order.
    `following` is the cursor for the next page, None at the end and for queries with an offset. `explanations` are of
    the hits and items that the query asks to have explained.
    """

    hits: tuple[Hit, ...]
    space: str | None
    fusion: Fusion | None = None
    note: str | None = None
    facets: tuple[FieldCounts, ...] = ()
    following: str | None = None
    explanations: tuple[Explanation, ...] = ()
