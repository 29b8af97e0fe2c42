"""The folders, tables and buckets from which the items of a collection came: listed, moved and forgotten.

A source is known by its `root`, the text by which it is opened again (`anyseek.indexer.sources.base.Source.uri`).
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from anyseek.search.catalogue import audit, collections, item_rows, items
from anyseek.search.catalogue.jobs import ACTIVE
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import AssetRow, ItemRow, JobRow, SourceRow
from anyseek.search.errors import Conflict, NotFound
from anyseek.search.types import Collection, Item


class SourceNotFound(NotFound):
    code = "source-not-found"


class SourceBusy(Conflict):
    """Raised if a source cannot be changed: a job is active on it, or the collection already has the other source."""

    code = "source-held"


@dataclass(frozen=True)
class SourceInfo:
    """A source of a collection, with its item count, key prefix, and whether items get predicted attributes."""

    id: int
    root: str
    key_prefix: str
    items: int
    predicts: bool = False


def ensure(session: Session, collection: Collection, root: Path | str, key_prefix: str = "") -> int:
    """The id of the source at `root`, created with `key_prefix` if the collection has none there."""
    collections.lock(session, collection)
    where = (SourceRow.collection_id == collection.id, SourceRow.root == str(root))
    source_id = session.scalar(select(SourceRow.id).where(*where))
    if source_id is None:
        row = SourceRow(collection_id=collection.id, root=str(root), key_prefix=key_prefix or None)
        session.add(row)
        session.flush()
        source_id = row.id
    return source_id


def list_sources(session: Session, collection: Collection) -> list[SourceInfo]:
    """The sources of a collection with their item counts, by id."""
    rows = session.execute(
        select(SourceRow.id, SourceRow.root, SourceRow.key_prefix, SourceRow.predicts, func.count(ItemRow.id))
        .outerjoin(ItemRow, ItemRow.source_id == SourceRow.id)
        .where(SourceRow.collection_id == collection.id)
        .group_by(SourceRow.id, SourceRow.root, SourceRow.key_prefix, SourceRow.predicts)
        .order_by(SourceRow.id)
    )
    return [SourceInfo(row.id, row.root, row.key_prefix or "", row[-1], row.predicts) for row in rows]


def set_predicts(session: Session, source_id: int, predicts: bool) -> None:
    """Set whether items of a source get predicted attributes, from its next job on.

    Raises `SourceBusy` if the value changes while a job is active, which may have settled some inputs.
    """
    row = session.get_one(SourceRow, source_id, populate_existing=True)
    if row.predicts != predicts:
        _check_idle(session, source_id)
        row.predicts = predicts
        session.flush()


def find(session: Session, collection: Collection, root: str) -> SourceInfo:
    """The source at `root`. Raises `SourceNotFound`, whose message lists the existing ones."""
    sources = list_sources(session, collection)
    for source in sources:
        if source.root == root:
            return source
    existing = f"it has {', '.join(source.root for source in sources)}" if sources else "it has none"
    raise SourceNotFound(f"the collection {collection.name!r} has no source {root}; {existing}")


def folder_of(session: Session, source_id: int | None) -> Path | None:
    """The folder of a source, with the originals of its items; None if it is not a folder or is missing."""
    root = None if source_id is None else session.scalar(select(SourceRow.root).where(SourceRow.id == source_id))
    return Path(root) if root and root.startswith("/") and Path(root).is_dir() else None


def sample_locations(session: Session, source_id: int, limit: int) -> list[str]:
    """At most `limit` paths of the user's own files in a source."""
    of_source = (ItemRow.source_id == source_id, ~AssetRow.stored)
    return list(session.scalars(select(AssetRow.location).join(ItemRow).where(*of_source).limit(limit)))


def move(session: Session, collection: Collection, source_id: int, root: str, folders: tuple[str, str]) -> None:
    """Give a source another `root`: files of its items move from the first of `folders` to the second.

    Keys, vectors and ids of the items stay. Raises `SourceBusy` if the collection has a source at `root`, or a job is
    active on this one.
    """
    collections.lock(session, collection)
    _check_idle(session, source_id)
    existing = select(SourceRow.id).where(SourceRow.collection_id == collection.id, SourceRow.root == root)
    if session.scalar(existing) is not None:
        raise SourceBusy(f"the collection {collection.name!r} already has a source {root}; forget one of the two first")
    session.execute(update(SourceRow).where(SourceRow.id == source_id).values(root=root))
    audit.record(session, "source.move", collection.name, root)
    before, after = (f"{folder.rstrip('/')}/" for folder in folders)
    item_rows.update_items(
        session, collection.id, partial(_relocate, before=before, after=after), ItemRow.source_id == source_id
    )


def forget(database: Database, collection: Collection, source_id: int, with_items: bool) -> None:
    """Remove a source; its items stay and belong to no source, or are deleted in pages first.

    If the deletion is interrupted, the source stays with the remaining items. Raises `SourceBusy`, as `move` does.
    """
    with database.read() as session:
        _check_idle(session, source_id)
        pages = list(items.keys_of_source(session, source_id)) if with_items else []
    for keys in pages:
        with database.write() as session:
            _check_idle(session, source_id)
            hashes = items.content_hashes(session, collection, keys)
            items.delete(session, collection, [key for key in keys if hashes.get(key, ("", None))[1] == source_id])
    with database.write() as session:
        collections.lock(session, collection)
        _check_idle(session, source_id)
        item_rows.update_items(
            session, collection.id, lambda item: replace(item, source_id=None), ItemRow.source_id == source_id
        )
        session.execute(update(JobRow).where(JobRow.source_id == source_id).values(source_id=None))
        root = session.scalar(select(SourceRow.root).where(SourceRow.id == source_id))
        audit.record(session, "source.forget", collection.name, root)
        session.execute(delete_rows(SourceRow).where(SourceRow.id == source_id))


def _relocate(item: Item, before: str, after: str) -> Item:
    """The item with its file locations moved from the folder `before` to `after`."""
    assets = {
        name: replace(asset, location=after + asset.location.removeprefix(before))
        if not asset.stored and asset.location.startswith(before)
        else asset
        for name, asset in item.assets.items()
    }
    return replace(item, assets=assets)


def _check_idle(session: Session, source_id: int) -> None:
    active_jobs = select(JobRow.id).where(JobRow.source_id == source_id, JobRow.state.in_(ACTIVE))
    job_id = session.scalar(active_jobs)
    if job_id is not None:
        raise SourceBusy(
            f"job {job_id} is active on this source; wait for it, or stop it: anyseek jobs cancel {job_id}"
        )
