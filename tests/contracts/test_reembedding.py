"""Moving a collection to another model, in the catalogue alone, on every database."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, jobs, ledger, log, reembedding, space_switch
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import InputResult, Lease
from anyseek.search.catalogue.reembedding import NewVectors
from anyseek.search.catalogue.space_switch import IncompleteItem, Target
from anyseek.search.catalogue.tables import LogRow, SpaceRow
from anyseek.search.errors import FingerprintMismatch, LeaseLost
from anyseek.search.types import Collection
from tests.search.gallery import SPACES, Things, WordsEmbedder, direction

KEYS = [f"item {number}" for number in range(6)]
OTHER = WordsEmbedder("words-2")
LONG = timedelta(hours=1)


def begin(things: Things) -> tuple[Job, Target]:
    """A job to the other weights whose items are listed."""
    with things.database.write() as session:
        now = collections.get(session, things.collection.name)
        job = reembedding.open_job(session, now, "other", OTHER.spaces.values(), "me", lambda _: False)
        target = space_switch.target(session, things.collection.id)
        assert target
        after = 0
        while page := reembedding.list_page(session, job.id, target, after):
            after = page[-1].item_id
        jobs.start(session, job.id, "me", 0)
    return job, target


def lease(things: Things, job: Job) -> list[Lease]:
    with things.database.write() as session:
        return ledger.lease_range(session, job.id, "me", 100, LONG)


def made(things: Things, leases: Sequence[Lease]) -> list[tuple[Lease, NewVectors]]:
    with things.database.read() as session:
        held = {item.key: item for item in lacking(session, things)}
    vectors = {space: direction("new", space) for space in SPACES}
    return [(lease, NewVectors(held[lease.key].item_id, held[lease.key].revision, vectors)) for lease in leases]


def lacking(session: Session, things: Things) -> list[IncompleteItem]:
    target = space_switch.target(session, things.collection.id)
    assert target
    return space_switch.incomplete_items(session, target, 0, 100)


def write(
    things: Things, target: Target, of: Sequence[tuple[Lease, NewVectors]], refused: Sequence[InputResult] = ()
) -> int:
    with things.database.write() as session:
        return reembedding.write(session, target, of, refused)


def finish(things: Things, job: Job, target: Target) -> bool:
    with things.database.write() as session:
        return reembedding.finish(session, job.id, target, 0, lambda session, last: [])


@pytest.fixture
def things(things: Things) -> Things:
    things.put(KEYS)
    return things


def now(things: Things) -> Collection:
    with things.database.read() as session:
        return collections.get(session, things.collection.name)


def test_the_head_has_what_serves_apart_from_what_is_built(things: Things) -> None:
    _, target = begin(things)
    head = things.head
    assert {space.id for space in head.spaces} == {space.id for space in things.collection.spaces.values()}
    assert {space.id for space in head.beside} == {space.id for space in target.spaces.values()}
    assert head.centre_version(head.beside[0].id) == 0
    with pytest.raises(FingerprintMismatch, match="re-embedded"):
        head.centre_version(10_000)


def test_the_switch_comes_when_nothing_lacks_vectors(things: Things) -> None:
    job, target = begin(things)
    assert not finish(things, job, target)
    leases = lease(things, job)
    assert [lease.key for lease in leases] == KEYS
    assert write(things, target, made(things, leases[:4])) == 0
    assert not finish(things, job, target)
    assert write(things, target, made(things, leases[4:])) == 0
    assert finish(things, job, target)
    after = now(things)
    assert (after.model, after.beside) == ("other", {"kept": "words"})
    assert {space.fingerprint for space in after.spaces.values()} == {s.fingerprint for s in OTHER.spaces.values()}
    with things.database.read() as session:
        assert jobs.get(session, job.id).state == JobState.DONE
        assert jobs.get(session, job.id).counts.indexed == 6
        (page,) = log.latest_vectors(session, things.collection.id, after.spaces["looks"].id)
        assert np.array_equal(page.of("words-2/looks", 16)[1][0], direction("new", "looks"))


def test_what_changed_or_went_meanwhile_is_not_written(things: Things) -> None:
    job, target = begin(things)
    leases = lease(things, job)
    todo = made(things, leases)
    things.put(["item 1"], "something else")
    things.remove(["item 2"])
    things.put(["new"])
    assert write(things, target, todo) == 1
    with things.database.read() as session:
        assert [item.key for item in lacking(session, things)] == ["item 1", "new"]
    again = lease(things, job)
    assert [lease.key for lease in again] == ["item 1"]
    write(things, target, made(things, again))
    assert not finish(things, job, target)
    with things.database.write() as session:
        assert [item.key for item in reembedding.list_page(session, job.id, target, 0)] == ["new"]
    write(things, target, made(things, lease(things, job)))
    assert finish(things, job, target)


def test_a_lost_lease_or_a_cancelled_job_writes_nothing(things: Things) -> None:
    job, target = begin(things)
    todo = made(things, lease(things, job))
    with things.database.write() as session:
        ledger.revoke_lost_leases(session, job.id, lambda _: False)
    with pytest.raises(LeaseLost):
        write(things, target, todo)
    with things.database.write() as session:
        suspect = ledger.lease_suspect(session, job.id, "me", LONG)
        assert suspect
        jobs.end_unfinished(session, job.id, JobState.CANCELLED, "cancelled")
    with pytest.raises(FingerprintMismatch, match="re-embedding that has ended;"):
        write(things, target, [(suspect, todo[0][1])])
    own = [space.id for space in things.collection.spaces.values()]
    with things.database.read() as session:
        assert session.scalar(select(func.count()).where(LogRow.space_id.not_in(own))) == 0
        assert session.scalar(select(func.count()).select_from(SpaceRow)) == 2


def test_a_compacted_log_keeps_the_newest_vector_of_every_space(things: Things) -> None:
    job, target = begin(things)
    write(things, target, made(things, lease(things, job)))
    assert finish(things, job, target)
    with things.database.write() as session:
        log.compact(session, things.collection.id, things.head.last_seq)
        assert session.scalar(select(func.count()).select_from(LogRow)) == 24
        space_switch.forget(session, collections.get(session, things.collection.name))
        assert session.scalar(select(func.count()).select_from(LogRow)) == 12


def test_quarantined_items_stop_the_switch_until_they_are_left_out(things: Things) -> None:
    job, target = begin(things)
    leases = lease(things, job)
    bad = InputResult(leases[0], None, "its file is gone", "asset-not-found")
    write(things, target, made(things, leases[1:]), [bad])
    assert finish(things, job, target)
    with things.database.read() as session:
        failed = jobs.get(session, job.id)
        assert reembedding.left_out(session, things.collection.id) == {}
    assert failed.state == JobState.FAILED
    assert "1 items could not be embedded" in str(failed.error)
    assert now(things).beside == {"building": "other"}
    with things.database.write() as session:
        assert reembedding.switch_without_failed(session, collections.get(session, things.collection.name)) == 1
    assert now(things).model == "other"
    with things.database.read() as session:
        assert reembedding.left_out(session, things.collection.id) == {"item 0": "its file is gone"}
