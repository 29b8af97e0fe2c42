"""The tables of the catalogue, the source of truth; Alembic creates them (`migrations/`).

collections 1 ── n spaces       serving ones, and ones of the next or the previous model
     │             1 ── n tunings   query means fitted on the collection
     │             1 ── n own_curves  curves of older versions, unused
     │ 1 ── n sources        folders, tables and buckets of the items
     │ 1 ── n items 1 ── n assets
     │              1 ── n facets   the item's flattened attributes, for filters; derived
     │              1 ── 1 words    for full-text search; derived
     │ 1 ── n taught_facets  attributes learned from examples
     │ 1 ── n log            raw vectors, deletions and payload changes in one numbered order
     │ 1 ── n jobs 1 ── n ledger      one row per input of a bulk operation
     │             1 ── 1 submissions when its tasks were last submitted to workers
     └ 1 ── 1 snapshot_leases  the process that may write its snapshots, until when
owners                                processes with leases, and when their registrations expire
audit                                 who changed what, and when

A `checksum` is its row's (`anyseek.search.catalogue.checksums`), null in rows written by older versions.
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    event,
    false,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from anyseek.search.catalogue.values import now

# SQLite only numbers rows by itself in a column of type INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")
# Ordered by code point whatever the database's language, as SQLite does by itself.
CodePoints = Text().with_variant(Text(collation="C"), "postgresql")


class Table(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSON,
        bytes: LargeBinary,
        str: Text,
    }


class CollectionRow(Table):
    """`last_seq` is raised under this row's lock, held until the commit, so that log numbers commit in order.

    AUTOINCREMENT here and on spaces: ids are never reused, or a new collection could load a deleted one's snapshots.
    """

    __tablename__ = "collections"
    __table_args__ = ({"sqlite_autoincrement": True},)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    model: Mapped[str]
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    compacted_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)


class SpaceRow(Table):
    """`centre` is float32 little-endian; `centre_version` is 0 while it is the space's prior.

    `state` is one of `anyseek.search.catalogue.collections.SpaceState`; `model` is the space's model; `blocks`
    is the list of widths that `EmbeddingSpace` has. `tuning_version` is raised whenever its tunings change.
    `calibrated_count` is no longer read: older versions wrote it beside `own_curves`.
    """

    __tablename__ = "spaces"
    __table_args__ = (UniqueConstraint("collection_id", "name", "state"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    name: Mapped[str]
    state: Mapped[str] = mapped_column(String(12))
    model: Mapped[str]
    fingerprint: Mapped[str]
    dimension: Mapped[int]
    blocks: Mapped[list[int]] = mapped_column(JSON, default=list, server_default="[]")
    centre: Mapped[bytes]
    centre_version: Mapped[int] = mapped_column(default=0)
    centre_count: Mapped[int] = mapped_column(BigInteger, default=0)
    tuning_version: Mapped[int] = mapped_column(default=0, server_default="0")
    calibrated_count: Mapped[int | None] = mapped_column(BigInteger, default=0, server_default="0")
    checksum: Mapped[int | None] = mapped_column(BigInteger)


class _Fitted:
    """A fit for queries of one modality in a space, with the error on held-out queries `before` and `after`."""

    space_id: Mapped[int] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True)
    modality: Mapped[str] = mapped_column(String(100), primary_key=True)
    fingerprint: Mapped[str]
    queries: Mapped[int]
    before: Mapped[float] = mapped_column(Double)
    after: Mapped[float] = mapped_column(Double)
    made_at: Mapped[datetime] = mapped_column(default=now)
    checksum: Mapped[int] = mapped_column(BigInteger)


class TuningRow(_Fitted, Table):
    """The mean of queries, float32 little-endian; see `anyseek.search.types.Tuning`."""

    __tablename__ = "tunings"
    mean: Mapped[bytes]


class CurveRow(_Fitted, Table):
    """A curve of probabilities that an older version fitted on a collection; no longer read."""

    __tablename__ = "own_curves"
    numbers: Mapped[bytes]


class SourceRow(Table):
    """`key_prefix`, if not null, begins its items' keys and ends with a slash; `predicts`: add predicted attributes."""

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("collection_id", "root"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    root: Mapped[str]
    key_prefix: Mapped[str | None]
    predicts: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class ItemRow(Table):
    """AUTOINCREMENT: ids are never reused, or an index that has not seen a deletion would return the wrong item.

    `stamp` shows without reading the item's files if they have changed (`anyseek.indexer.source_inputs`); null: read
    them. `charged_to` is the API key whose quota the item counts in, with `stored_bytes`
    (`anyseek.search.catalogue.api_keys`).
    """

    __tablename__ = "items"
    __table_args__ = (
        UniqueConstraint("collection_id", "key"),
        Index("items_by_sample", "collection_id", "sample_hash"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(CodePoints)
    source_id: Mapped[int | None] = mapped_column(ForeignKey("sources.id"), index=True)
    content_hash: Mapped[str]
    sample_hash: Mapped[str | None] = mapped_column(String(64))
    stamp: Mapped[str | None] = mapped_column(String(32))
    caption: Mapped[str | None] = mapped_column(CodePoints)
    attributes: Mapped[dict[str, Any]]
    revision: Mapped[int] = mapped_column(BigInteger, default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    checksum: Mapped[int | None] = mapped_column(BigInteger)
    charged_to: Mapped[str | None] = mapped_column(String(100))
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")


_charged = ItemRow.charged_to.is_not(None)
Index("items_by_charge", ItemRow.charged_to, ItemRow.stored_bytes, sqlite_where=_charged, postgresql_where=_charged)


class AssetRow(Table):
    """The checksum of the item's row covers its assets."""

    __tablename__ = "assets"
    __table_args__ = (UniqueConstraint("item_id", "name"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id", ondelete="CASCADE"))
    name: Mapped[str]
    location: Mapped[str]
    stored: Mapped[bool]
    media_type: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class FacetRow(Table):
    """See `search.filters.facets.Facet`; the indexes of texts, numbers and moments are partial."""

    __tablename__ = "facets"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id", ondelete="CASCADE"), index=True)
    path: Mapped[str] = mapped_column(CodePoints)
    number: Mapped[float | None] = mapped_column(Double)
    text: Mapped[str | None] = mapped_column(CodePoints)
    truth: Mapped[bool | None] = mapped_column(Boolean)
    moment: Mapped[float | None] = mapped_column(Double)


for _column in (FacetRow.number, FacetRow.text, FacetRow.moment):
    _is_present = _column.is_not(None)
    Index(
        f"facets_by_{_column.key}",
        FacetRow.collection_id,
        FacetRow.path,
        _column,
        FacetRow.item_id,
        sqlite_where=_is_present,
        postgresql_where=_is_present,
    )


class WordsRow(Table):
    """The words by which full text finds an item (`search.words`); the databases index them by `INDEX_WORDS`."""

    __tablename__ = "words"
    item_id: Mapped[int] = mapped_column(
        ForeignKey("items.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    words: Mapped[str]


# FTS5 keeps no copy of the words. Its tokenizer `ascii` treats every non-ASCII character as part of a word.
INDEX_WORDS = {
    "sqlite": (
        "CREATE VIRTUAL TABLE words_index USING fts5(collection_id, words, content='words', content_rowid='item_id', "
        "detail='column', tokenize='ascii')",
        "CREATE TRIGGER words_added AFTER INSERT ON words BEGIN INSERT INTO words_index (rowid, collection_id, words) "
        "VALUES (new.item_id, new.collection_id, new.words); END",
        "CREATE TRIGGER words_removed AFTER DELETE ON words BEGIN INSERT INTO words_index (words_index, rowid, "
        "collection_id, words) VALUES ('delete', old.item_id, old.collection_id, old.words); END",
    ),
    "postgresql": (
        "CREATE INDEX words_by_word ON words USING gin (array_to_tsvector(array_prepend('@' || CAST(collection_id AS "
        "text), string_to_array(words, ' '))))",
    ),
}
for _dialect, _statements in INDEX_WORDS.items():
    for _statement in _statements:
        event.listen(WordsRow.__table__, "after_create", DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]


def is_of_catalogue(name: str | None, kind: str, _parents: object = None) -> bool:
    """False for tables that SQLite's full text creates, true for all others."""
    return kind != "table" or name is None or not name.startswith("words_index")


class TaughtRow(Table):
    """See `anyseek.search.catalogue.taught.TaughtFacet`.

    `weights` (c, d), `bias` (c,) and `mean` (d,) are float32 little-endian, `held_out` a `HeldOut` or null. Items up to
    `applied_id` have their values; null when all have. `version` is raised whenever it is learned anew.
    """

    __tablename__ = "taught_facets"
    collection_id: Mapped[int] = mapped_column(
        ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))
    examples: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    space: Mapped[str]
    fingerprint: Mapped[str]
    method: Mapped[str] = mapped_column(String(40))
    labels: Mapped[list[str]] = mapped_column(JSON)
    weights: Mapped[bytes]
    bias: Mapped[bytes]
    mean: Mapped[bytes]
    blocks: Mapped[list[int]] = mapped_column(JSON)
    held_out: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    made_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(BigInteger)
    applied_id: Mapped[int | None] = mapped_column(BigInteger)


class LogRow(Table):
    """An upsert has a space and a vector; a deletion and a payload change concern the item in every space."""

    __tablename__ = "log"
    __table_args__ = (Index("log_by_item", "collection_id", "item_id"),)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(10))
    item_id: Mapped[int] = mapped_column(BigInteger)
    space_id: Mapped[int | None] = mapped_column(BigInteger)
    fingerprint: Mapped[str | None]
    vector: Mapped[bytes | None]
    revision: Mapped[int] = mapped_column(BigInteger)
    checksum: Mapped[int | None] = mapped_column(BigInteger)


class JobRow(Table):
    """`owner` names the process that scans or runs the job, null while any worker may; see `search.catalogue.leases`.

    The numbers of inputs are filled in when the job ends; until then the ledger has them. `on_duplicate` is
    one of `anyseek.search.types.OnDuplicate`; `charged_to` is the API key that started it; `position` and `calibrates`
    are no longer read.
    """

    __tablename__ = "jobs"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    source_id: Mapped[int | None] = mapped_column(ForeignKey("sources.id"))
    state: Mapped[str] = mapped_column(String(12))
    owner: Mapped[str | None]
    error: Mapped[str | None]
    prune: Mapped[bool] = mapped_column(default=False)
    on_duplicate: Mapped[str] = mapped_column(String(8), default="link", server_default="link")
    position: Mapped[str | None]
    indexed: Mapped[int] = mapped_column(BigInteger, default=0)
    unchanged: Mapped[int] = mapped_column(BigInteger, default=0)
    quarantined: Mapped[int] = mapped_column(BigInteger, default=0)
    skipped: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    ignored: Mapped[int] = mapped_column(BigInteger, default=0)
    pruned: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    charged_to: Mapped[str | None] = mapped_column(String(100))
    calibrates: Mapped[bool] = mapped_column(default=True, server_default=true())


class LedgerRow(Table):
    """One input of a job. `fence` grows with each lease; a writer with an old fence has lost its lease."""

    __tablename__ = "ledger"
    __table_args__ = (
        UniqueConstraint("job_id", "uri"),
        Index("ledger_by_state", "job_id", "state", "id"),
        Index("ledger_by_key", "job_id", "key"),
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    uri: Mapped[str]
    key: Mapped[str]
    state: Mapped[str] = mapped_column(String(12))
    outcome: Mapped[str | None] = mapped_column(String(20))
    reason: Mapped[str | None]
    reason_code: Mapped[str | None] = mapped_column(String(60))
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    owner: Mapped[str | None]
    lease_expires: Mapped[datetime | None]


class SubmissionRow(Table):
    __tablename__ = "submissions"
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    submitted_at: Mapped[datetime]


class OwnerRow(Table):
    """Renewed by the owner while it is alive; an expired owner has died or hangs."""

    __tablename__ = "owners"
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    expires_at: Mapped[datetime]


class SnapshotLeaseRow(Table):
    """`place` is as in `search.catalogue.leases`, `holder` a random name; see `SnapshotLease`."""

    __tablename__ = "snapshot_leases"
    collection_id: Mapped[int] = mapped_column(
        ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    place: Mapped[str]
    holder: Mapped[str]
    expires_at: Mapped[datetime]


class CursorRow(Table):
    """The position of an external index in a space's log; see `anyseek.search.catalogue.leases`.

    `centre` is float32 little-endian. `fence` grows with each lease.
    """

    __tablename__ = "cursors"
    space_id: Mapped[int] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True)
    centre_version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    centre: Mapped[bytes]
    seq: Mapped[int] = mapped_column(BigInteger)
    ready: Mapped[bool]
    fence: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime | None]


class ApiKeyRow(Table):
    """`last_used_at` is written at most once an hour (`anyseek.search.catalogue.api_keys.USE_UPDATE_INTERVAL`).

    `most_items` and `most_bytes` are its quota (`anyseek.search.catalogue.api_keys`), null without one.
    """

    __tablename__ = "api_keys"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    most_items: Mapped[int | None] = mapped_column(BigInteger)
    most_bytes: Mapped[int | None] = mapped_column(BigInteger)


class AuditRow(Table):
    """See `anyseek.search.catalogue.audit`; collections are named, since they may be gone."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str]
    address: Mapped[str | None]
    request_id: Mapped[str | None]
    action: Mapped[str] = mapped_column(String(40))
    collection: Mapped[str | None]
    target: Mapped[str | None]
