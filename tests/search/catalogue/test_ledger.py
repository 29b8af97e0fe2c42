"""Leases, fences, deaths and settlement of a job's inputs."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy import select

from anyseek.search.catalogue import jobs, ledger, sources
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.catalogue.ledger import DEADLY, INDEXED, UNCHANGED, Counts, InputResult, Lease, NewInput, Span
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import LedgerRow
from anyseek.search.errors import JobNotFound, JobNotRetriable, LeaseLost
from anyseek.search.types import Collection

HOUR, PAST = timedelta(hours=1), timedelta(hours=-1)


class Book:
    """One job and short forms of what is done with it, each in its own transaction."""

    def __init__(self, database: Database, collection: Collection, source_id: int) -> None:
        self.database = database
        self.collection = collection
        self.source_id = source_id
        self.living = {"a", "b"}
        self.job = self.open("a")

    def write(self, do: Callable[..., Any], *arguments: Any) -> Any:
        with self.database.write() as session:
            return do(session, *arguments)

    def read(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        with self.database.read() as session:
            return ask(session, *arguments)

    def open(self, owner: str | None) -> int:
        return self.write(jobs.open_index_job, self.collection, self.source_id, owner, False, self.is_alive).id

    def is_alive(self, owner: str) -> bool:
        return owner in self.living

    def add(self, *names: str) -> None:
        self.write(ledger.add, self.job, [NewInput(name, name) for name in names])

    def start(self, owner: str = "a") -> bool:
        return self.write(jobs.start, self.job, owner, 0)

    def started(self, *names: str) -> Self:
        """The book with these inputs, and its job begun."""
        self.add(*names)
        assert self.start()
        return self

    def lease(self, owner: str, limit: int = 10, valid_for: timedelta = HOUR, *span: Span) -> list[Lease]:
        self.write(ledger.revoke_lost_leases, self.job, self.is_alive)
        return self.write(ledger.lease_range, self.job, owner, limit, valid_for, *span)

    def suspect(self, owner: str, *span: Span) -> Lease | None:
        self.write(ledger.revoke_lost_leases, self.job, self.is_alive)
        return self.write(ledger.lease_suspect, self.job, owner, HOUR, *span)

    def alone(self, owner: str) -> Lease:
        lease = self.suspect(owner)
        assert lease is not None
        return lease

    def settle(self, *settled: InputResult) -> None:
        self.write(ledger.settle, settled)

    def counts(self) -> Counts:
        return self.read(ledger.counts, self.job)

    def complete(self) -> bool:
        return self.write(jobs.complete, self.job)

    def reopen(self, job: int | None = None) -> int:
        return self.write(jobs.reopen, job or self.job)

    def codes(self) -> dict[str, str]:
        return {failure.uri: failure.code for failure in self.read(ledger.list_failures, self.job)}


@pytest.fixture
def book(database: Database, collection: Collection) -> Book:
    with database.write() as session:
        source_id = sources.ensure(session, collection, Path("/photos"))
    return Book(database, collection, source_id)


def test_inputs_are_leased_once_and_settled(book: Book) -> None:
    book.started("1", "2", "3", "4", "5")
    first, second = book.lease("a", 2), book.lease("b", 10)
    assert [lease.uri for lease in first] == ["1", "2"]
    assert [lease.uri for lease in second] == ["3", "4", "5"]
    assert book.lease("b") == []
    assert not book.complete()
    book.settle(*(InputResult(lease, INDEXED) for lease in first))
    book.settle(
        InputResult(second[0], UNCHANGED), InputResult(second[1], INDEXED), InputResult(second[2], None, "why", "bad")
    )
    assert book.counts() == Counts(3, 1, 1, 0)
    assert book.codes() == {"5": "bad"}
    assert book.complete()
    assert not book.complete()
    job = book.read(jobs.get, book.job)
    assert (job.state, job.counts, job.root) == (JobState.DONE, Counts(3, 1, 1), "/photos")


def test_a_worker_that_slept_past_its_lease_writes_nothing(book: Book) -> None:
    book.started("1", "2")
    slept = book.lease("a", valid_for=PAST)
    taken = book.alone("b")
    assert taken.fence > slept[0].fence
    with pytest.raises(LeaseLost):
        book.settle(*(InputResult(lease, INDEXED) for lease in slept))
    assert book.counts() == Counts(open=2)
    book.settle(InputResult(taken, INDEXED))
    with pytest.raises(LeaseLost):
        book.settle(InputResult(taken, INDEXED))
    assert book.counts() == Counts(indexed=1, open=1)


def test_a_dead_owner_s_leases_are_void_at_once(book: Book) -> None:
    book.started("1", "2", "3")
    lost = book.lease("b", 2)
    assert [lease.uri for lease in book.lease("a")] == ["3"]
    assert book.suspect("a") is None
    book.living.remove("b")
    assert book.lease("a") == [], "what died in a range is never leased as a range again"
    alone = book.alone("a")
    assert (alone.uri, alone.attempts, alone.fence) == ("1", 2, lost[0].fence + 1)


def test_suspects_take_turns_and_are_quarantined_after_three_deaths_alone(book: Book) -> None:
    book.started("1", "2")
    book.living.remove("b")
    book.lease("b")
    turns = [book.alone("b") for _ in range(6)]
    assert [(lease.uri, lease.attempts) for lease in turns] == [(uri, n) for n in (2, 3, 4) for uri in ("1", "2")]
    assert book.suspect("a") is None
    assert book.codes() == {"1": DEADLY, "2": DEADLY}
    assert book.complete()


def test_what_is_given_back_is_fresh_again(book: Book) -> None:
    book.started("1")
    leases = book.lease("a")
    book.write(ledger.return_leases, leases)
    again = book.lease("b")
    assert [(lease.uri, lease.attempts) for lease in again] == [("1", 1)]
    book.write(ledger.return_leases, leases)  # an old lease gives nothing back
    assert book.lease("a") == []


def test_a_key_belongs_to_the_first_input(book: Book) -> None:
    book.write(ledger.add, book.job, [NewInput("1", "k"), NewInput("2", "k"), NewInput("1", "k")])
    book.write(ledger.add, book.job, [NewInput("3", "k"), NewInput("1", "k"), NewInput("4", "4", "why", "bad")])
    assert book.codes() == {"2": "duplicate-key", "3": "duplicate-key", "4": "bad"}
    assert book.counts() == Counts(quarantined=3, open=1)


def test_an_adopted_job_is_scanned_anew_and_keeps_its_suspects(book: Book) -> None:
    book.started("1", "2", "3", "4")
    leases = book.lease("a", 3)
    book.settle(InputResult(leases[0], INDEXED))
    assert book.open("b") == book.job
    assert not book.start("b"), "its owner lives, so it was not adopted"
    book.living.remove("a")
    assert book.open("b") == book.job
    assert book.counts() == Counts()
    with pytest.raises(LeaseLost):
        book.settle(InputResult(leases[1], INDEXED))
    book.add("1", "3", "4")  # 2 is gone meanwhile
    assert book.start("b")
    assert [lease.uri for lease in book.lease("b")] == ["1", "4"]
    suspect = book.alone("b")
    assert (suspect.uri, suspect.attempts) == ("3", 2)
    assert book.suspect("b") is None


def test_an_adopted_job_keeps_what_is_deadly(book: Book) -> None:
    book.started("1", "2")
    book.living.remove("b")
    book.lease("b", 1)
    for _ in range(3):
        book.suspect("b")
    book.living = {"c"}
    book.lease("c", 1)
    assert book.codes() == {"1": DEADLY}
    book.open("c")
    book.add("1", "2")
    assert book.start("c")
    assert book.codes() == {"1": DEADLY}


def test_a_new_job_forgets_the_finished_inputs_of_the_last(book: Book) -> None:
    book.started("1", "2")
    leases = book.lease("a")
    book.settle(InputResult(leases[0], INDEXED), InputResult(leases[1], None, "why", "bad"))
    book.complete()
    ended = book.job
    book.job = book.open("a")
    assert book.job != ended
    with book.database.read() as session:
        assert jobs.get_with_counts(session, ended).counts == Counts(1, 0, 1)
        assert [failure.uri for failure in ledger.list_failures(session, ended)] == ["2"]
        assert [job.id for job in jobs.list_page(session, None, 10, "things")] == [book.job, ended]
        assert jobs.list_page(session, ended, 10) == []


def test_jobs_that_wait_for_an_owner(book: Book) -> None:
    with book.database.read() as session:
        assert jobs.list_unowned(session, book.is_alive) == []
        book.living.clear()
        assert jobs.list_unowned(session, book.is_alive) == [book.job]
        with pytest.raises(JobNotFound, match="no job 99"):
            jobs.get(session, 99)


def test_a_job_is_given_up_once(book: Book) -> None:
    book.add("1")
    with book.database.write() as session:
        assert jobs.end_unfinished(session, book.job, JobState.FAILED, "why")
        assert not jobs.end_unfinished(session, book.job, JobState.CANCELLED, None)
        assert jobs.get(session, book.job).error == "why"
    assert not book.start()


def ids_of(book: Book) -> list[int]:
    with book.database.read() as session:
        return list(session.scalars(select(LedgerRow.id).order_by(LedgerRow.id)))


def test_spans_are_leased_by_themselves(book: Book) -> None:
    ids = ids_of(book.started(*map(str, range(1, 13))))
    span = Span(ids[4], ids[7])
    assert [lease.uri for lease in book.lease("a", 10, HOUR, span)] == ["5", "6", "7", "8"]
    assert book.lease("b", 10, HOUR, span) == []
    assert book.suspect("b", span) is None
    book.living.remove("a")
    assert book.suspect("b", Span(ids[8], ids[11])) is None
    suspect = book.suspect("b", span)
    assert suspect is not None
    assert suspect.uri == "5"


def test_spans_that_nobody_works_on_are_told(book: Book) -> None:
    def unclaimed() -> list[Span]:
        return book.read(ledger.unclaimed_spans, book.job, 4)

    ids = ids_of(book.started(*map(str, range(1, 13))))
    before = unclaimed()
    assert {number for number in ids if any(span.first <= number <= span.last for span in before)} == set(ids)
    assert all(span.first % 4 == 0 and span.last == span.first + 3 for span in before)
    leased = book.lease("a", 1)
    assert unclaimed() == before[1:]
    book.settle(InputResult(leased[0], INDEXED))
    assert unclaimed() == before
    book.settle(*(InputResult(lease, INDEXED) for lease in book.lease("a", 20)))
    assert unclaimed() == []


def test_quarantined_inputs_are_reopened_and_killers_stay_suspected(book: Book) -> None:
    book.add("1", "2", "3")
    book.write(ledger.add, book.job, [NewInput("bad", "bad", "why", "bad-description")])
    book.start()
    book.settle(InputResult(book.lease("a", 1)[0], None, "why", "broken-picture"))
    book.living.remove("b")
    book.lease("b", 1)
    for _ in range(3):
        book.suspect("b")
    book.settle(InputResult(book.lease("a", 1)[0], INDEXED))
    assert book.suspect("a") is None
    assert book.codes() == {"bad": "bad-description", "1": "broken-picture", "2": DEADLY}
    assert book.complete()
    assert book.reopen() == 2
    assert book.codes() == {"bad": "bad-description"}
    assert [lease.uri for lease in book.lease("a")] == ["1"]
    alone = book.alone("a")
    assert (alone.uri, alone.attempts) == ("2", 2)


def test_only_the_newest_job_of_a_source_is_reopened(book: Book) -> None:
    book.start()
    assert book.complete()
    earlier, book.job = book.job, book.open("a")
    with pytest.raises(JobNotRetriable, match=f"job {book.job} has indexed"):
        book.reopen(earlier)
    with pytest.raises(JobNotRetriable, match="is scanning"):
        book.reopen()
    with pytest.raises(JobNotFound):
        book.reopen(99)
    book.start()
    assert book.complete()
    assert book.reopen() == 0
    assert book.read(jobs.get, book.job).state == JobState.DONE, "nothing to try again leaves it done"


def test_a_submission_is_claimed_by_one(book: Book) -> None:
    claims = [book.write(jobs.claim_submission, book.job, not_since) for not_since in (HOUR, HOUR, timedelta(0))]
    assert claims == [True, False, True]
    with pytest.raises(JobNotFound):
        book.write(jobs.claim_submission, 99, HOUR)
