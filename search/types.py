"""Collections and items as frozen dataclasses; queries and results are `Query` and `Results`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray
from anyseek.search.answers.results import Facet as Facet
from anyseek.search.answers.results import FacetValue as FacetValue
from anyseek.search.answers.results import GroupValue as GroupValue
from anyseek.search.answers.results import Hit as Hit
from anyseek.search.answers.results import Results as Results
from anyseek.search.query.query import Part as Part
from anyseek.search.query.query import Query as Query

Attributes = Mapping[str, Any]
# The attributes that only Anyseek writes (`anyseek.indexer.attributes`, `anyseek.search.taught`).
PREDICTED, TAUGHT = "predicted", "taught"
IdArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tuning:
    """A query mean fitted on a collection, for one modality in one space.

    `mean` float32 (dimension,) is subtracted from raw query vectors in place of the model's means. It was fitted on
    `queries` queries for the collection's own items, whose recall at 10 was `before` with the model's means and is
    `after` with this one. It applies only to the space with this `fingerprint`.
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

    `centre` is the mean of the collection's own raw vectors, frozen when a snapshot is made, float32
    (dimension,); `centre_version` counts the freezes and is 0 while the space's prior is used.
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
    """Items that are searched together. `last_seq` is the sequence number of the newest log entry.

    `beside` has the models whose spaces do not serve queries, by state (`building`, `kept`, `returning`).
    """

    id: int
    name: str
    model: str
    spaces: Mapping[str, Space]
    last_seq: int
    created_at: datetime
    beside: Mapping[str, str] = field(default_factory=dict)


class OnDuplicate(StrEnum):
    """What a job does with an input whose content an item with another key has."""

    LINK = "link"  # keep both, with the same vectors and stored files
    SKIP = "skip"  # skip the later one
    ERROR = "error"  # quarantine the later one


@dataclass(frozen=True)
class Asset:
    """One file of an item. `name` is a modality or `thumbnail`.

    `location` is relative to the asset store if `stored`, else the absolute path of the user's file.
    """

    name: str
    location: str
    stored: bool
    media_type: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Item:
    """A sample's row in the catalogue. `source_id` is None if it was put over the API.

    `sample_hash` is the hash of what a model sees of it, None for rows of older versions. Nothing in a `damaged` item
    can be trusted: its rows do not match their checksum.
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
        """The version tag of the item's state; it changes with every change, and when another item gets the key."""
        return f"{self.id}-{self.revision}"

    @property
    def path(self) -> str | None:
        """The path of the user's own picture file; None if Anyseek stores the picture or it has none."""
        picture = self.assets.get("rgb")
        return None if picture is None or picture.stored else picture.location


@dataclass(frozen=True)
class NewItem:
    """A sample to write: its row, assets, and raw vector in every space of the collection.

    `stamp` shows without reading its files if they have changed (`anyseek.indexer.source_inputs`); None: read them.
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
class FieldCounts:
    """Statistics of the attribute at a path: the number of items that have it, and its values.

    `values` are the most frequent of its `distinct` texts and truth values. `numbers` and `moments` are the minimum and
    maximum of that type, moments in seconds since 1970; None without such values.
    """

    field: str
    items: int
    distinct: int
    values: tuple[FacetValue, ...] = ()
    numbers: tuple[float, float] | None = None
    moments: tuple[float, float] | None = None
