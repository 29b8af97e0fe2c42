"""Moving a collection to another model, in the catalogue alone, on every database."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, jobs, ledger, log, reembedding, space_switch
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Lease, Settled
from anyseek.search.catalogue.reembedding import Made
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.space_switch import Lacking, Target
from anyseek.search.catalogue.tables import LogRow, SpaceRow
from anyseek.search.errors import FingerprintMismatch, LeaseLost
from anyseek.search.types import Collection
from tests.search.gallery import SPACES, WordsEmbedder, direction, put, remove

KEYS = [f"item {number}" for number in range(6)]
OTHER = WordsEmbedder("words-2")
LONG = timedelta(hours=1)


def begin(database: Database, collection: Collection) -> tuple[Job, Target]:
    """A job to the other weights whose items are listed."""
    with database.write() as session:
        now = collections.get(session, collection.name)
        job = reembedding.open_job(session, now, "other", OTHER.spaces.values(), "me", lambda _: False)
        target = space_switch.target(session, collection.id)
        assert target
        after = 0
        while page := reembedding.list_page(session, job.id, target, after):
            after = page[-1].item_id
        jobs.start(session, job.id, "me", 0)
    return job, target


def lease(database: Database, job: Job) -> list[Lease]:
    with database.write() as session:
        return ledger.lease_range(session, job.id, "me", 100, LONG)


def made(database: Database, collection: Collection, leases: Sequence[Lease]) -> list[tuple[Lease, Made]]:
    with database.read() as session:
        held = {item.key: item for item in lacking(session, collection)}
    vectors = {space: direction("new", space) for space in SPACES}
    return [(lease, Made(held[lease.key].item_id, held[lease.key].revision, vectors)) for lease in leases]


def lacking(session: Session, collection: Collection) -> list[Lacking]:
    target = space_switch.target(session, collection.id)
    assert target
    return space_switch.lacking(session, target, 0, 100)


def write(database: Database, target: Target, of: Sequence[tuple[Lease, Made]], refused: Sequence[Settled] = ()) -> int:
    with database.write() as session:
        return reembedding.write(session, target, of, refused)


def finish(database: Database, job: Job, target: Target) -> bool:
    with database.write() as session:
        return reembedding.finish(session, job.id, target, 0, lambda session, last: [])


@pytest.fixture
def filled(database: Database, collection: Collection, embedder: WordsEmbedder) -> Collection:
    put(database, collection, embedder, KEYS)
    return collection


def now(database: Database, collection: Collection) -> Collection:
    with database.read() as session:
        return collections.get(session, collection.name)


def test_the_head_has_what_serves_apart_from_what_is_built(database: Database, filled: Collection) -> None:
    _, target = begin(database, filled)
    with database.read() as session:
        head = collections.head(session, filled.name)
    assert {space.name: space.id for space in head.spaces} == {name: space.id for name, space in filled.spaces.items()}
    assert {space.id for space in head.beside} == {space.id for space in target.spaces.values()}
    assert head.centre_version(head.beside[0].id) == 0
    with pytest.raises(FingerprintMismatch, match="re-embedded"):
        head.centre_version(10_000)


def test_the_switch_comes_when_nothing_lacks_vectors(database: Database, filled: Collection) -> None:
    job, target = begin(database, filled)
    assert not finish(database, job, target)
    leases = lease(database, job)
    assert [lease.key for lease in leases] == KEYS
    assert write(database, target, made(database, filled, leases[:4])) == 0
    assert not finish(database, job, target)
    assert write(database, target, made(database, filled, leases[4:])) == 0
    assert finish(database, job, target)
    after = now(database, filled)
    assert (after.model, after.beside) == ("other", {"kept": "words"})
    assert {space.fingerprint for space in after.spaces.values()} == {s.fingerprint for s in OTHER.spaces.values()}
    with database.read() as session:
        assert jobs.get(session, job.id).state == JobState.DONE
        assert jobs.get(session, job.id).counts.indexed == 6
        (page,) = log.latest_vectors(session, filled.id, after.spaces["looks"].id)
        assert np.array_equal(page.of("words-2/looks", 16)[1][0], direction("new", "looks"))


def test_what_changed_or_went_meanwhile_is_not_written(
    database: Database, filled: Collection, embedder: WordsEmbedder
) -> None:
    job, target = begin(database, filled)
    leases = lease(database, job)
    todo = made(database, filled, leases)
    put(database, filled, embedder, ["item 1"], "something else")
    remove(database, filled, ["item 2"])
    put(database, filled, embedder, ["new"])
    assert write(database, target, todo) == 1
    with database.read() as session:
        assert [item.key for item in lacking(session, filled)] == ["item 1", "new"]
    again = lease(database, job)
    assert [lease.key for lease in again] == ["item 1"]
    write(database, target, made(database, filled, again))
    assert not finish(database, job, target)
    with database.write() as session:
        assert [item.key for item in reembedding.list_page(session, job.id, target, 0)] == ["new"]
    write(database, target, made(database, filled, lease(database, job)))
    assert finish(database, job, target)


def test_a_lost_lease_or_a_cancelled_job_writes_nothing(database: Database, filled: Collection) -> None:
    job, target = begin(database, filled)
    todo = made(database, filled, lease(database, job))
    with database.write() as session:
        ledger.void(session, job.id, lambda _: False)
    with pytest.raises(LeaseLost):
        write(database, target, todo)
    with database.write() as session:
        suspect = ledger.lease_suspect(session, job.id, "me", LONG)
        assert suspect
        jobs.give_up(session, job.id, JobState.CANCELLED, "cancelled")
    with pytest.raises(FingerprintMismatch, match="re-embedding that has ended;"):
        write(database, target, [(suspect, todo[0][1])])
    with database.read() as session:
        assert session.scalar(select(func.count()).where(LogRow.space_id.not_in(ids(filled)))) == 0
        assert session.scalar(select(func.count()).select_from(SpaceRow)) == 2


def test_a_compacted_log_keeps_the_newest_vector_of_every_space(
    database: Database, filled: Collection, embedder: WordsEmbedder
) -> None:
    job, target = begin(database, filled)
    write(database, target, made(database, filled, lease(database, job)))
    assert finish(database, job, target)
    with database.write() as session:
        log.compact(session, filled.id, now_seq(session, filled))
        assert session.scalar(select(func.count()).select_from(LogRow)) == 24
        space_switch.forget(session, collections.get(session, filled.name))
        assert session.scalar(select(func.count()).select_from(LogRow)) == 12


def test_quarantined_items_stop_the_switch_until_they_are_left_out(database: Database, filled: Collection) -> None:
    job, target = begin(database, filled)
    leases = lease(database, job)
    bad = Settled(leases[0], None, "its file is gone", "asset-not-found")
    write(database, target, made(database, filled, leases[1:]), [bad])
    assert finish(database, job, target)
    with database.read() as session:
        failed = jobs.get(session, job.id)
        assert reembedding.left_out(session, filled.id) == {}
    assert failed.state == JobState.FAILED
    assert "1 items could not be embedded" in str(failed.error)
    assert now(database, filled).beside == {"building": "other"}
    with database.write() as session:
        assert reembedding.leave_out(session, collections.get(session, filled.name)) == 1
    assert now(database, filled).model == "other"
    with database.read() as session:
        assert reembedding.left_out(session, filled.id) == {"item 0": "its file is gone"}


def ids(collection: Collection) -> list[int]:
    return [space.id for space in collection.spaces.values()]


def now_seq(session: Session, collection: Collection) -> int:
    return collections.head(session, collection.name).last_seq
