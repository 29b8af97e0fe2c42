"""Means of queries that were fitted on a collection itself, by space and modality."""

from collections.abc import Iterable

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from search.catalogue.tables import SpaceRow, TuningRow, from_bytes, to_bytes, utc
from search.types import Tuning


def of_space(session: Session, space_id: int, fingerprint: str) -> list[Tuning]:
    """The tunings of a space, by modality; those of another fingerprint than the space has now are left out."""
    rows = session.scalars(
        select(TuningRow)
        .where(TuningRow.space_id == space_id, TuningRow.fingerprint == fingerprint)
        .order_by(TuningRow.modality)
        .execution_options(populate_existing=True)
    )
    return [_tuning(row) for row in rows]


def replace(session: Session, space_id: int, tuned: Iterable[Tuning]) -> None:
    """Give a space these tunings in place of all that it had."""
    session.execute(delete(TuningRow).where(TuningRow.space_id == space_id))
    rows = [_values(space_id, tuning) for tuning in tuned]
    if rows:
        session.execute(insert(TuningRow), rows)
    session.execute(
        update(SpaceRow)
        .where(SpaceRow.id == space_id)
        .values(tuning_version=SpaceRow.tuning_version + 1)
        .execution_options(synchronize_session=False)
    )


def _values(space_id: int, tuning: Tuning) -> dict[str, object]:
    return {
        "space_id": space_id,
        "modality": tuning.modality,
        "fingerprint": tuning.fingerprint,
        "mean": to_bytes(tuning.mean),
        "queries": tuning.queries,
        "before": tuning.before,
        "after": tuning.after,
        "made_at": tuning.made_at,
    }


def _tuning(row: TuningRow) -> Tuning:
    recall = (row.before, row.after)
    return Tuning(row.modality, row.fingerprint, from_bytes(row.mean), row.queries, *recall, utc(row.made_at))
