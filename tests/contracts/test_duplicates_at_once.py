"""Two jobs with two workers each, all offering the same contents at once: one key of each content is kept."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import event

from anyseek.indexer.indexing import IndexRun, ensure_collection, open_job
from anyseek.indexer.paths import from_uri
from anyseek.indexer.runs import IndexerContext, NoProgress, Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import collections, jobs, ledger
from anyseek.search.catalogue.jobs import Job, JobState
from anyseek.search.catalogue.ledger import Failure
from anyseek.search.catalogue.tables import CollectionRow
from anyseek.search.settings import Settings, Work
from anyseek.search.types import OnDuplicate
from tests.contracts.catalogue import empty
from tests.contracts.conftest import NEEDS_POSTGRES, POSTGRES
from tests.indexer.harness import NAME, check_agreement, failures, held, installation
from tests.indexer.pictures import png

CONTENTS = 32
WORKERS_OF_A_JOB = 2
WORK = Work(inputs_per_task=8, inputs_per_batch=4)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=NEEDS_POSTGRES)])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexerContext]:
    settings = Settings(tmp_path / "home", work=WORK)
    if request.param == "postgres":
        settings = Settings(tmp_path / "home", database_url=os.environ[POSTGRES], work=WORK)
    with installation(settings.home, settings=settings) as context:
        if request.param == "postgres":
            empty(context.database)
        yield context


def offer(context: IndexerContext, folder: Path, on_duplicate: OnDuplicate) -> Job:
    """A job that takes the contents in under keys of its own. Its inputs are listed; nothing is embedded yet."""
    folder.mkdir()
    for number in range(CONTENTS):
        (folder / f"{folder.name}-{number}.png").write_bytes(png(number, 8, 8))
    source, collection = open_source(context.settings, folder), ensure_collection(context, NAME)
    with Owner(context.database, context.settings) as owner:
        job = open_job(collection, source, owner, prune=False, on_duplicate=on_duplicate)
        assert IndexRun(lambda: context, source, owner, NoProgress()).scan(job)
    return look(context, job)


def look(context: IndexerContext, job: Job) -> Job:
    with context.database.read() as session:
        return jobs.get(session, job.id)


def work(context: IndexerContext, job: Job, all_at_once: Barrier) -> None:
    """One worker's part in a job."""
    assert job.root is not None
    source = open_source(context.settings, from_uri(job.root))
    with Owner(context.database, context.settings) as owner:
        all_at_once.wait()
        IndexRun(lambda: context, source, owner, NoProgress()).run(job)


def run_at_once(context: IndexerContext, both: Sequence[Job]) -> None:
    workers = [job for job in both for _ in range(WORKERS_OF_A_JOB)]
    all_at_once = Barrier(len(workers))
    with ThreadPoolExecutor(len(workers)) as threads:
        for done in [threads.submit(work, context, job, all_at_once) for job in workers]:
            done.result()


def contents(keys: Iterable[str]) -> list[int]:
    return sorted(int(key.removesuffix(".png").partition("-")[2]) for key in keys)


def skipped(context: IndexerContext, job: Job) -> dict[str, Failure]:
    with context.database.read() as session:
        return {one.uri: one for one in ledger.list_skipped(session, job.id)}


def test_a_collection_that_another_process_makes_meanwhile_is_opened(context: IndexerContext) -> None:
    """PostgreSQL lets another one in between the look and the insert; SQLite has one writer at a time."""
    if context.database.engine.dialect.name == "sqlite":
        pytest.skip("no other process can write meanwhile")

    made: list[str] = []

    def meanwhile(mapper: object, connection: object, row: CollectionRow) -> None:
        if not made:
            made.append(row.name)
            with context.database.write() as session:
                collections.create(session, row.name, context.embedder.name, context.embedder.spaces.values())

    event.listen(CollectionRow, "before_insert", meanwhile)
    try:
        assert ensure_collection(context, NAME).name == NAME
    finally:
        event.remove(CollectionRow, "before_insert", meanwhile)
    with context.database.read() as session:
        assert [found.name for found in collections.list_all(session)] == made == [NAME]


@pytest.mark.parametrize("on_duplicate", [OnDuplicate.SKIP, OnDuplicate.ERROR])
def test_one_key_of_each_content_is_kept(context: IndexerContext, tmp_path: Path, on_duplicate: OnDuplicate) -> None:
    both = [offer(context, tmp_path / name, on_duplicate) for name in ("a", "b")]
    run_at_once(context, both)
    kept = held(context)
    assert contents(kept) == list(range(CONTENTS))
    told = skipped if on_duplicate is OnDuplicate.SKIP else failures
    left_out = {key: one for job in both for key, one in told(context, job).items()}
    assert contents(left_out) == list(range(CONTENTS))
    assert not kept.keys() & left_out.keys()
    assert {one.code for one in left_out.values()} == {"duplicate-content"}
    for key, one in left_out.items():
        (other,) = (held_key for held_key in kept if contents([held_key]) == contents([key]))
        assert one.reason == f"{key} has the same content as {other!r}"
    ended = [look(context, job) for job in both]
    assert {job.state for job in ended} == {JobState.DONE}
    assert sum(job.counts.indexed for job in ended) == CONTENTS
    assert sum(job.counts.skipped + job.counts.quarantined for job in ended) == CONTENTS
    check_agreement(context)
