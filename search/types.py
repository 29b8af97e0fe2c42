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
PREDICTED = "predicted"  # the member of attributes that nobody writes (`anyseek.indexer.attributes`)
IdArray = npt.NDArray[np.int64]


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
class FieldCounts:
    """One attribute by its path: how many items have it, and what its values are.

    `values` are its most frequent texts and truth values, of `distinct` texts in all. `numbers` and `moments` are the
    smallest and the largest of its values of that kind, moments in seconds since 1970; None if it has none.
    """

    field: str
    items: int
    distinct: int
    values: tuple[FacetValue, ...] = ()
    numbers: tuple[float, float] | None = None
    moments: tuple[float, float] | None = None
