"""The first step of a job: its inputs are listed in the ledger."""

from collections.abc import Iterator
from itertools import islice

from indexer.owner import Owner
from indexer.progress import Progress
from indexer.sources.base import Found, Position, Source
from search.catalogue import jobs, ledger, listing
from search.catalogue.jobs import Job, JobState
from search.catalogue.session import Database

PAGE = 500


def scan(database: Database, job: Job, source: Source, owner: Owner, progress: Progress) -> bool:
    """List the inputs of a job's source, after which they may be leased; false if another process that lives is at it.

    Raises `JobStopped`, `JobNotFound`, `SourceGone`.
    """
    if job.owner != owner.name:
        with database.write() as session:
            if not jobs.adopt(session, job.id, owner.name, owner.living(session)):
                return False
    for page in _pages(source.scan(_position(database, job, source))):
        owner.check()
        with database.write() as session:
            if not _is_ours(jobs.get_locked(session, job.id), owner):
                return True
            listing.add(session, job.id, [_input(one) for one in page])
            if position := next((one.position for one in reversed(page) if one.position), None):
                jobs.reached(session, job.id, position.to_text())
        progress.scanned(len(page))
    with database.write() as session:
        if not jobs.start(session, job.id, owner.name, source.ignored):
            return True
        waiting = ledger.counts(session, job.id).open
    progress.started(waiting)
    return True


def _is_ours(job: Job, owner: Owner) -> bool:
    """No longer if it was cancelled, or if another process took it over while this one was thought dead."""
    return job.state == JobState.SCANNING and job.owner == owner.name


def _position(database: Database, job: Job, source: Source) -> Position | None:
    """Where to go on with an interrupted scan; None to begin one."""
    with database.write() as session:
        kept = jobs.get(session, job.id).position
        position = Position.from_text(kept) if kept else None
        if position and not source.can_resume(position):
            jobs.scan_anew(session, job.id)
            return None
    return position


def _input(one: Found) -> listing.NewInput:
    return listing.NewInput(one.uri, one.key, one.reason, one.reason_code)


def _pages(found: Iterator[Found]) -> Iterator[list[Found]]:
    while page := list(islice(found, PAGE)):
        yield page
