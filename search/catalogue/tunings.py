"""What was fitted on a collection itself, by space and modality: means of queries, and curves of probabilities."""

from collections.abc import Collection, Iterable
from dataclasses import astuple
from typing import TypeVar

import numpy as np
from sqlalchemy import delete, exists, insert, or_, select, update
from sqlalchemy.orm import Session

from anyseek.search.catalogue import checksums
from anyseek.search.catalogue.tables import CurveRow, SpaceRow, TuningRow
from anyseek.search.catalogue.values import from_bytes, to_bytes, utc
from anyseek.search.curve import Curve, OwnCurve
from anyseek.search.types import Tuning

_Row = TypeVar("_Row", TuningRow, CurveRow)


def of_space(session: Session, space_id: int, fingerprint: str) -> list[Tuning]:
    """The tunings of a space, by modality.

    Those of another fingerprint than the space has now are left out, and so are damaged ones.
    """
    rows = _rows(session, TuningRow, space_id)
    return [_tuning(row) for row in rows if row.fingerprint == fingerprint and _is_sound(row, row.mean)]


def curves_of_space(session: Session, space_id: int, fingerprint: str) -> list[OwnCurve]:
    """The curves of a space, by modality, without those of another fingerprint and damaged ones."""
    rows = _rows(session, CurveRow, space_id)
    return [_curve(row) for row in rows if row.fingerprint == fingerprint and _is_sound(row, row.numbers)]


def damaged(session: Session, space_id: int) -> list[str]:
    """The modalities of a space whose tunings or curves do not match their checksums."""
    means = {row.modality for row in _rows(session, TuningRow, space_id) if not _is_sound(row, row.mean)}
    curves = {row.modality for row in _rows(session, CurveRow, space_id) if not _is_sound(row, row.numbers)}
    return sorted(means | curves)


def replace(
    session: Session,
    space_id: int,
    tuned: Iterable[Tuning],
    curves: Iterable[OwnCurve] = (),
    calibrated_count: int | None = None,
) -> None:
    """Give a space these tunings and curves in place of all that it had.

    `calibrated_count` are the items of the collection if nobody asked for this; None if a user did, whose choice stays.
    """
    means = [_values(space_id, tuning) for tuning in tuned]
    own = [_curve_values(space_id, curve) for curve in curves]
    for table, rows in ((TuningRow, means), (CurveRow, own)):
        session.execute(delete(table).where(table.space_id == space_id))
        if rows:
            session.execute(insert(table), rows)
    session.execute(
        update(SpaceRow)
        .where(SpaceRow.id == space_id)
        .values(tuning_version=SpaceRow.tuning_version + 1, calibrated_count=calibrated_count)
        .execution_options(synchronize_session=False)
    )


def are_held(session: Session, space_ids: Collection[int]) -> bool:
    """True if anything was fitted in these spaces."""
    held = [exists().where(table.space_id.in_(space_ids)) for table in (TuningRow, CurveRow)]
    return bool(session.scalar(select(or_(*held))))


def _rows(session: Session, table: type[_Row], space_id: int) -> Iterable[_Row]:
    query = select(table).where(table.space_id == space_id).order_by(table.modality)
    return session.scalars(query.execution_options(populate_existing=True))


def _is_sound(row: TuningRow | CurveRow, fitted: bytes) -> bool:
    return row.checksum == checksums.of_tuning(row.space_id, row.modality, row.fingerprint, fitted)


def _values(space_id: int, tuning: Tuning) -> dict[str, object]:
    mean = to_bytes(tuning.mean)
    return {**_both(space_id, tuning, mean), "mean": mean}


def _curve_values(space_id: int, own: OwnCurve) -> dict[str, object]:
    *five, usual = astuple(own.curve)
    numbers = to_bytes(np.array([*five, usual] if usual else five, np.float32))
    return {**_both(space_id, own, numbers), "numbers": numbers}


def _both(space_id: int, fitted: Tuning | OwnCurve, held: bytes) -> dict[str, object]:
    return {
        "space_id": space_id,
        "modality": fitted.modality,
        "fingerprint": fitted.fingerprint,
        "checksum": checksums.of_tuning(space_id, fitted.modality, fitted.fingerprint, held),
        "queries": fitted.queries,
        "before": fitted.before,
        "after": fitted.after,
        "made_at": fitted.made_at,
    }


def _tuning(row: TuningRow) -> Tuning:
    recall = (row.before, row.after)
    return Tuning(row.modality, row.fingerprint, from_bytes(row.mean), row.queries, *recall, utc(row.made_at))


def _curve(row: CurveRow) -> OwnCurve:
    curve = Curve(*from_bytes(row.numbers).tolist())
    return OwnCurve(row.modality, row.fingerprint, curve, row.queries, row.before, row.after, utc(row.made_at))
