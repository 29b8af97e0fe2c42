"""The numbers of an installation are those of its rows, on every database."""

from datetime import timedelta

from sqlalchemy import update

from anyseek.search.catalogue import figures, jobs, leases, ledger, sources
from anyseek.search.catalogue.figures import OTHER
from anyseek.search.catalogue.ledger import NewInput
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import LedgerRow
from anyseek.search.types import Collection


def begin(database: Database, collection: Collection, inputs: list[NewInput]) -> int:
    with database.write() as session:
        source = sources.ensure(session, collection, "file:///photos")
        job = jobs.open_index_job(session, collection, source, "me", False, lambda name: True)
        ledger.add(session, job.id, inputs)
        jobs.start(session, job.id, "me", 0)
    return job.id


def test_inputs_leases_and_reasons_are_counted(database: Database, collection: Collection) -> None:
    bad = [NewInput(f"bad{number}", f"bad{number}", "why", "not-a-picture") for number in range(3)]
    job = begin(database, collection, [*bad, *(NewInput(f"{number}", f"{number}") for number in range(5))])
    with database.write() as session:
        leases.renew(session, "alive", timedelta(minutes=1))
        session.execute(update(LedgerRow).where(LedgerRow.uri == "bad0").values(reason_code=None))
        leases.renew(session, "silent", timedelta(minutes=-1))
        assert len(ledger.lease_range(session, job, "me", 2, timedelta(minutes=1))) == 2
    with database.read() as session:
        found = figures.read_figures(session)
    assert found.jobs == {"scanning": 0, "running": 1}
    assert found.inputs == {"pending": 3, "leased": 2}
    assert found.quarantined == {"not-a-picture": 2, OTHER: 1}
    assert found.leases == {"inputs": 2, "snapshots": 0, "cursors": 0}
    assert found.owners == 1
