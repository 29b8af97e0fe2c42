"""The words of a collection and of a query, as values. Everything here is frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from model.embedder import FloatArray, Value
from search.filters.tree import Filter

Attributes = Mapping[str, Any]
IdArray = npt.NDArray[np.int64]


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


@dataclass(frozen=True)
class Collection:
    """Items that are searched together. `last_seq` is the number of its newest log entry."""

    id: int
    name: str
    model: str
    spaces: Mapping[str, Space]
    last_seq: int
    item_count: int
    created_at: datetime


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
    """A sample's row in the catalogue. `source_id` is the folder it came from; None: it was put over the API."""

    id: int
    key: str
    source_id: int | None
    content_hash: str
    caption: str | None
    attributes: Attributes
    revision: int
    assets: Mapping[str, Asset] = field(default_factory=dict)


@dataclass(frozen=True)
class NewItem:
    """What is written for one sample: row, assets, and its raw vector in every space of the collection."""

    key: str
    content_hash: str
    vectors: Mapping[str, FloatArray]
    caption: str | None = None
    attributes: Attributes = field(default_factory=dict)
    assets: tuple[Asset, ...] = ()
    source_id: int | None = None


@dataclass(frozen=True)
class Part:
    """One piece of a query: a modality with its value, or the key of an item. A negative weight pushes away."""

    modality: str | None = None
    value: Value | None = None
    item: str | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Query:
    """What to look for: at least one part, the number of hits, the space (None lets the model choose), and which
    items may be hits (None: all).
    """

    parts: tuple[Part, ...]
    k: int = 10
    space: str | None = None
    where: Filter | None = None


@dataclass(frozen=True)
class Hit:
    """One answer. `score` is a cosine in [-1, 1], higher is better; `rank` starts at 1."""

    item: Item
    score: float
    rank: int


@dataclass(frozen=True)
class Results:
    """The hits of one query, best first, and the space they were found in."""

    hits: tuple[Hit, ...]
    space: str
