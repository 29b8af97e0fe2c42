"""Collections and their spaces in the catalogue."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.catalogue import audit, checksums
from anyseek.search.catalogue.session import connection_of
from anyseek.search.catalogue.tables import (
    CollectionRow,
    FacetRow,
    ItemRow,
    JobRow,
    LogRow,
    SourceRow,
    SpaceRow,
    TaughtRow,
    TuningRow,
    WordsRow,
)
from anyseek.search.catalogue.values import from_bytes, to_bytes, utc
from anyseek.search.errors import (
    BadInput,
    CollectionExists,
    CollectionNotFound,
    FingerprintMismatch,
    SpaceNotFound,
    StoreCorrupt,
)
from anyseek.search.types import Collection, Space, Tuning

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)


class SpaceState(StrEnum):
    """The state of a collection's spaces of one model; only serving ones answer queries."""

    SERVING = "serving"
    BUILDING = "building"  # being filled; they serve once every item has vectors in them
    KEPT = "kept"  # they served before; new items get no vectors
    RETURNING = "returning"  # kept spaces that are being completed, to serve again


@dataclass(frozen=True)
class SpaceHead:
    """The state of a space that tells an index if it is up to date."""

    id: int
    name: str
    fingerprint: str
    dimension: int
    centre_version: int
    centre_count: int
    state: SpaceState = SpaceState.SERVING
    blocks: tuple[int, ...] = ()
    tuning_version: int = 0


@dataclass(frozen=True)
class Head:
    """The state of a collection, read cheaply. Entries up to `compacted_seq` may be missing from the log.

    `spaces` are the serving ones, `beside` the spaces of other models.
    """

    id: int
    name: str
    model: str
    last_seq: int
    compacted_seq: int
    spaces: tuple[SpaceHead, ...]
    beside: tuple[SpaceHead, ...] = ()

    def centre_version(self, space_id: int) -> int:
        """The centre version of a space. Raises `FingerprintMismatch` if the collection no longer has it."""
        for space in (*self.spaces, *self.beside):
            if space.id == space_id:
                return space.centre_version
        raise FingerprintMismatch(
            f"the collection {self.name!r} has since been re-embedded with {self.model}; query again with that model"
        )


_HEADS = (
    select(
        CollectionRow.id.label("of_collection"),
        CollectionRow.name.label("collection"),
        CollectionRow.model,
        CollectionRow.last_seq,
        CollectionRow.compacted_seq,
        SpaceRow.id,
        SpaceRow.name,
        SpaceRow.fingerprint,
        SpaceRow.dimension,
        SpaceRow.centre_version,
        SpaceRow.centre_count,
        SpaceRow.state,
        SpaceRow.blocks,
        SpaceRow.tuning_version,
    )
    .join_from(CollectionRow, SpaceRow, SpaceRow.collection_id == CollectionRow.id)
    .order_by(SpaceRow.id)
)
_CHECKSUM_COLUMNS = (
    SpaceRow.collection_id,
    SpaceRow.name,
    SpaceRow.fingerprint,
    SpaceRow.dimension,
    SpaceRow.blocks,
    SpaceRow.centre,
    SpaceRow.centre_version,
)
_SPACE = select(*_CHECKSUM_COLUMNS, SpaceRow.checksum)
# Built once: every query reads a head, and building these statements is several times slower than running them.
_HEAD_BY_NAME = _HEADS.where(CollectionRow.name == bindparam("value"))
_HEAD_BY_ID = _HEADS.where(CollectionRow.id == bindparam("value"))


def create(session: Session, name: str, embedder_name: str, spaces: Iterable[EmbeddingSpace]) -> Collection:
    """Create an empty collection with one index for each of `spaces`.

    Raises `CollectionExists`, and `BadInput` if the name is not 1 to 100 of `A-Za-z0-9._-`, not starting with . or -.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name[:120]!r} cannot be the name of a collection; use 1 to 100 letters, digits, '.', '_' or '-', "
            "not starting with '.' or '-'"
        )
    if session.scalar(select(CollectionRow.id).where(CollectionRow.name == name)) is not None:
        raise CollectionExists(f"there is already a collection called {name!r}")
    row = CollectionRow(name=name, model=embedder_name)
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:  # another process has created it since the query
        raise CollectionExists(f"there is already a collection called {name!r}") from error
    add_spaces(session, row.id, embedder_name, spaces, SpaceState.SERVING)
    audit.record(session, "collection.create", name)
    return get(session, name)


def add_spaces(
    session: Session, collection_id: int, model: str, spaces: Iterable[EmbeddingSpace], state: SpaceState
) -> None:
    """Add the spaces of a model to a collection, without vectors."""
    values = {"collection_id": collection_id, "model": model, "state": state}
    session.execute(insert(SpaceRow), [{**values, **_space_values(collection_id, space)} for space in spaces])


def get(session: Session, name: str) -> Collection:
    """The collection called `name`. Raises `CollectionNotFound`."""
    row = session.scalar(
        select(CollectionRow).where(CollectionRow.name == name).execution_options(populate_existing=True)
    )
    if row is None:
        raise CollectionNotFound(f"there is no collection called {name!r}")
    return _collection(session, row)


def list_all(session: Session) -> list[Collection]:
    """All collections, by name."""
    rows = session.scalars(select(CollectionRow).order_by(CollectionRow.name).execution_options(populate_existing=True))
    return [_collection(session, row) for row in rows]


def delete(session: Session, name: str) -> None:
    """Remove the collection with its items, log and jobs. Raises `CollectionNotFound`. Files are not touched."""
    collection_id = session.scalar(select(CollectionRow.id).where(CollectionRow.name == name).with_for_update())
    if collection_id is None:
        raise CollectionNotFound(f"there is no collection called {name!r}")
    for table in (JobRow, LogRow, FacetRow, WordsRow, ItemRow, SourceRow, SpaceRow, TaughtRow):
        session.execute(delete_rows(table).where(table.collection_id == collection_id))
    session.execute(delete_rows(CollectionRow).where(CollectionRow.id == collection_id))
    audit.record(session, "collection.delete", name)


def head(reader: Session | Connection, name: str) -> Head:
    """The current state of the collection, without counting anything. Raises `CollectionNotFound`."""
    found = _head(connection_of(reader), _HEAD_BY_NAME, name)
    if found is None:
        raise CollectionNotFound(f"there is no collection called {name!r}")
    return found


def head_by_id(session: Session, collection_id: int) -> Head:
    """Like `head`, by the collection's id."""
    found = _head(session.connection(), _HEAD_BY_ID, collection_id)
    if found is None:
        raise CollectionNotFound("the collection has been deleted in the meantime")
    return found


def ids(session: Session) -> set[int]:
    """The ids of all collections."""
    return set(session.scalars(select(CollectionRow.id)))


def space_ids(session: Session) -> set[int]:
    """The ids of all spaces of all collections, in any state."""
    return set(session.scalars(select(SpaceRow.id)))


def count(session: Session, collection_id: int) -> int:
    """The number of items of a collection."""
    return session.scalar(select(func.count()).select_from(ItemRow).where(ItemRow.collection_id == collection_id)) or 0


def item_ids(session: Session, collection_id: int) -> set[int]:
    """The ids of all items of a collection."""
    return set(session.scalars(select(ItemRow.id).where(ItemRow.collection_id == collection_id)))


def centre_of(session: Session, space_id: int) -> FloatArray:
    """The mean on which the space is currently centred. Raises `SpaceNotFound`, and `StoreCorrupt` if it is damaged."""
    row = session.execute(_SPACE.where(SpaceRow.id == space_id)).one_or_none()
    if row is None:
        raise SpaceNotFound("the space has been deleted in the meantime")
    if not _is_sound(row):
        raise StoreCorrupt(
            f"the space {row.name!r} is damaged in the database; run anyseek rebuild, or restore a backup"
        )
    return from_bytes(row.centre)


def damaged_spaces(session: Session, collection_id: int) -> list[str]:
    """The names of the collection's spaces that do not match their checksums."""
    rows = session.execute(_SPACE.where(SpaceRow.collection_id == collection_id).order_by(SpaceRow.id)).all()
    return [row.name for row in rows if not _is_sound(row)]


def freeze_centre(session: Session, space_id: int, centre: FloatArray, count: int) -> None:
    """Set the space's centre to `centre`, the mean of `count` vectors, and raise its version."""
    row = session.execute(_SPACE.where(SpaceRow.id == space_id).with_for_update()).one_or_none()
    if row is None:
        return  # dropped in the meantime
    new_centre = {"centre": to_bytes(centre), "centre_version": row.centre_version + 1}
    values = {**new_centre, "centre_count": count, "checksum": _checksum({**row._asdict(), **new_centre})}
    session.execute(update(SpaceRow).where(SpaceRow.id == space_id).values(values))


def fill_checksums(session: Session, collection_id: int) -> None:
    """Compute the checksums of spaces written by older versions, which have none."""
    query = _SPACE.add_columns(SpaceRow.id).where(SpaceRow.collection_id == collection_id, SpaceRow.checksum.is_(None))
    for row in session.execute(query).all():
        session.execute(update(SpaceRow).where(SpaceRow.id == row.id).values(checksum=_checksum(row._asdict())))


def lock(session: Session, collection: Collection) -> int:
    """Take the collection's row lock until the commit, and return `last_seq`. Raises `CollectionNotFound`."""
    last_seq = session.scalar(select(CollectionRow.last_seq).where(CollectionRow.id == collection.id).with_for_update())
    if last_seq is None:
        raise CollectionNotFound(f"the collection {collection.name!r} has been deleted in the meantime")
    return last_seq


def _head(connection: Connection, statement: Select[*tuple[Any, ...]], value: str | int) -> Head | None:
    rows = connection.execute(statement, {"value": value}).all()
    if not rows:
        return None
    spaces = [space_head(row) for row in rows]
    serving = tuple(space for space in spaces if space.state == SpaceState.SERVING)
    beside = tuple(space for space in spaces if space.state != SpaceState.SERVING)
    row = rows[0]
    return Head(row.of_collection, row.collection, row.model, row.last_seq, row.compacted_seq, serving, beside)


def space_head(row: Any) -> SpaceHead:
    """The head of a space from its row. Raises `StoreCorrupt` for an unknown state."""
    try:
        state = SpaceState(row.state)
    except ValueError as error:
        raise StoreCorrupt(f"a space has the unknown state {row.state!r}; the database is damaged") from error
    counts = (row.dimension, row.centre_version, row.centre_count)
    return SpaceHead(row.id, row.name, row.fingerprint, *counts, state, tuple(row.blocks), row.tuning_version)


def _space_values(collection_id: int, space: EmbeddingSpace) -> dict[str, object]:
    values = {
        "name": space.name,
        "fingerprint": space.fingerprint,
        "dimension": space.dimension,
        "blocks": list(space.blocks),
        "centre": to_bytes(space.gallery_prior),
    }
    return values | {"checksum": _checksum({"collection_id": collection_id, "centre_version": 0, **values})}


def _is_sound(row: Row[*tuple[Any, ...]]) -> bool:
    """True if a row of `_SPACE` matches its checksum."""
    try:
        return row.checksum is None or row.checksum == _checksum(row._asdict())
    except TypeError:  # SQLite returns whatever type a damaged row has
        return False


def _checksum(values: Mapping[str, Any]) -> int:
    """The checksum of a space's columns, by name."""
    return checksums.of_space(*(values[column.key] for column in _CHECKSUM_COLUMNS))


def _collection(session: Session, row: CollectionRow) -> Collection:
    spaces = session.scalars(
        select(SpaceRow)
        .where(SpaceRow.collection_id == row.id)
        .order_by(SpaceRow.id)
        .execution_options(populate_existing=True)
    ).all()
    serving = [space for space in spaces if space.state == SpaceState.SERVING]
    return Collection(
        row.id,
        row.name,
        row.model,
        {space.name: _space(session, space) for space in serving},
        row.last_seq,
        utc(row.created_at),
        {space.state: space.model for space in spaces if space.state != SpaceState.SERVING},
    )


def _space(session: Session, row: SpaceRow) -> Space:
    tunings = tunings_of(session, row.id, row.fingerprint)
    centre = (from_bytes(row.centre), row.centre_version)
    return Space(row.id, row.name, row.fingerprint, row.dimension, *centre, tuple(tunings))


def tunings_of(session: Session, space_id: int, fingerprint: str) -> list[Tuning]:
    """The sound tunings of a space with this fingerprint, by modality."""
    return [
        Tuning(row.modality, fingerprint, from_bytes(row.mean), row.queries, row.before, row.after, utc(row.made_at))
        for row in _tuning_rows(session, space_id)
        if row.fingerprint == fingerprint and _tuning_is_sound(row)
    ]


def damaged_tunings(session: Session, space_id: int) -> list[str]:
    """The modalities of a space whose tunings do not match their checksums."""
    return [row.modality for row in _tuning_rows(session, space_id) if not _tuning_is_sound(row)]


def replace_tunings(session: Session, space_id: int, tunings: Iterable[Tuning]) -> None:
    """Replace all tunings of a space."""
    rows = []
    for tuning in tunings:
        mean = to_bytes(tuning.mean)
        checksum = checksums.of_tuning(space_id, tuning.modality, tuning.fingerprint, mean)
        rows.append(vars(tuning) | {"space_id": space_id, "mean": mean, "checksum": checksum})
    session.execute(delete_rows(TuningRow).where(TuningRow.space_id == space_id))
    if rows:
        session.execute(insert(TuningRow), rows)
    new_version = {"tuning_version": SpaceRow.tuning_version + 1}
    session.execute(update(SpaceRow).where(SpaceRow.id == space_id).values(new_version))


def _tuning_rows(session: Session, space_id: int) -> Iterable[TuningRow]:
    query = select(TuningRow).where(TuningRow.space_id == space_id).order_by(TuningRow.modality)
    return session.scalars(query.execution_options(populate_existing=True))


def _tuning_is_sound(row: TuningRow) -> bool:
    return row.checksum == checksums.of_tuning(row.space_id, row.modality, row.fingerprint, row.mean)
