"""Means of queries that were fitted on a collection itself, by space and modality."""

from collections.abc import Iterable

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from anyseek.search.catalogue import checksums
from anyseek.search.catalogue.tables import SpaceRow, TuningRow
from anyseek.search.catalogue.values import from_bytes, to_bytes, utc
from anyseek.search.types import Tuning


def of_space(session: Session, space_id: int, fingerprint: str) -> list[Tuning]:
    """The tunings of a space, by modality, without damaged ones and those of another fingerprint."""
    return [_tuning(row) for row in _rows(session, space_id) if row.fingerprint == fingerprint and _is_sound(row)]


def damaged(session: Session, space_id: int) -> list[str]:
    """The modalities of a space whose tunings do not match their checksums."""
    return [row.modality for row in _rows(session, space_id) if not _is_sound(row)]


def replace(session: Session, space_id: int, tuned: Iterable[Tuning]) -> None:
    """Give a space these tunings in place of all that it had."""
    rows = [_values(space_id, tuning) for tuning in tuned]
    session.execute(delete(TuningRow).where(TuningRow.space_id == space_id))
    if rows:
        session.execute(insert(TuningRow), rows)
    session.execute(
        update(SpaceRow)
        .where(SpaceRow.id == space_id)
        .values(tuning_version=SpaceRow.tuning_version + 1)
        .execution_options(synchronize_session=False)
    )


def _rows(session: Session, space_id: int) -> Iterable[TuningRow]:
    query = select(TuningRow).where(TuningRow.space_id == space_id).order_by(TuningRow.modality)
    return session.scalars(query.execution_options(populate_existing=True))


def _is_sound(row: TuningRow) -> bool:
    return row.checksum == checksums.of_tuning(row.space_id, row.modality, row.fingerprint, row.mean)


def _values(space_id: int, tuning: Tuning) -> dict[str, object]:
    mean = to_bytes(tuning.mean)
    return {
        "space_id": space_id,
        "modality": tuning.modality,
        "fingerprint": tuning.fingerprint,
        "checksum": checksums.of_tuning(space_id, tuning.modality, tuning.fingerprint, mean),
        "queries": tuning.queries,
        "before": tuning.before,
        "after": tuning.after,
        "made_at": tuning.made_at,
        "mean": mean,
    }


def _tuning(row: TuningRow) -> Tuning:
    recall = (row.before, row.after)
    return Tuning(row.modality, row.fingerprint, from_bytes(row.mean), row.queries, *recall, utc(row.made_at))
