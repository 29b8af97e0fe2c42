"""What came out, against what went in: nothing lost, nothing doubled, every bad input in quarantine with its reason."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, ledger
from anyseek.search.catalogue.ledger import DONE, QUARANTINED
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import JobRow, LedgerRow, LogRow
from anyseek.search.settings import Settings
from anyseek.search.spaces.local import snapshots
from anyseek.search.spaces.local.backend import space_folder
from anyseek.search.types import Collection
from anyseek.search.upkeep.verify import verify
from tests.faults.gallery import Gallery
from tests.search.gallery import all_items


@dataclass(frozen=True)
class Outcome:
    """`lost` and `doubled` count inputs, `quarantined` those with the right reason; `wrong` says what else is amiss."""

    lost: int
    doubled: int
    quarantined: int
    wrong: tuple[str, ...]


def compare(database: Database, settings: Settings, gallery: Gallery, name: str) -> Outcome:
    """Look at the catalogue, the log, the ledger of the newest job, and (by `anyseek verify`) at index and assets."""
    with database.read() as session:
        collection = collections.get(session, name)
        listed = all_items(session, collection)
        written = _vectors_written(session, collection)
        job = session.scalars(select(JobRow).where(JobRow.collection_id == collection.id).order_by(-JobRow.id)).first()
        assert job is not None
        failures = {one.uri: one.code for one in ledger.list_failures(session, job.id, limit=1_000_000)}
        states = dict(session.execute(select(LedgerRow.uri, LedgerRow.state).where(LedgerRow.job_id == job.id)).all())
        wrong = [*_of_job(job, gallery), *_of_ledger(states, failures, gallery)]
    kept = {item.key for item in listed if written[item.id]}
    again = [item for item in listed if item.key not in gallery.good or item.revision > 1 or written[item.id] > 1]
    wrong += [problem.what for problem in verify(database, settings)]
    wrong += _of_snapshots(settings, collection)
    right = sum(failures.get(uri) == code for uri, code in gallery.bad.items())
    return Outcome(len(gallery.good - kept), len(again), right, tuple(wrong))


def _vectors_written(session: Session, collection: Collection) -> Counter[int]:
    """How often each item's vector was logged."""
    upserts = select(LogRow.item_id).where(LogRow.collection_id == collection.id, LogRow.kind == "upsert")
    return Counter(session.scalars(upserts))


def _of_job(job: JobRow, gallery: Gallery) -> Iterator[str]:
    counted = (job.state, job.indexed + job.unchanged, job.quarantined, job.skipped)
    expected = ("done", len(gallery.good), len(gallery.bad), 0)
    if counted != expected:
        yield f"the job says {counted} where {expected} went in ({job.error})"


def _of_ledger(states: dict[str, str], failures: dict[str, str], gallery: Gallery) -> Iterator[str]:
    expected = {**dict.fromkeys(gallery.good, DONE), **dict.fromkeys(gallery.bad, QUARANTINED)}
    for uri in sorted(set(states) | set(expected)):
        if states.get(uri) != expected.get(uri):
            yield f"the ledger has {uri} as {states.get(uri)}, not {expected.get(uri)} ({failures.get(uri)})"
    for uri, code in failures.items():
        if uri in gallery.bad and code != gallery.bad[uri]:
            yield f"{uri} is in quarantine as {code}, not {gallery.bad[uri]}"


def _of_snapshots(settings: Settings, collection: Collection) -> Iterator[str]:
    for space in collection.spaces.values():
        if not snapshots.list_snapshots(space_folder(settings, collection.id, space.id)):
            yield f"no snapshot of space {space.name} was written"
