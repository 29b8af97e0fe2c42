"""A collection that is deleted while it is indexed stays deleted, and whoever indexes it is told so."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select

from anyseek.api import cli
from anyseek.indexer.indexing import IndexRun
from anyseek.indexer.runs import IndexerContext, NoProgress, Owner
from anyseek.indexer.sources.folder import FolderSource
from anyseek.indexer.sources.opening import open_source
from anyseek.model.hashing import HashingEmbedder
from anyseek.search.catalogue import collections, jobs
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import Table as Row
from anyseek.search.catalogue.upgrade import open_database
from anyseek.search.errors import JobNotFound
from anyseek.search.settings import Settings
from anyseek.workers.queue import InProcessQueue
from tests.indexer.harness import NAME, check_agreement, held, installation, job_for, reembed_context
from tests.indexer.pictures import folder_of

Do = Callable[[], None]
_KEPT = {"audit", "owners"}
_MOMENTS = {
    "while it is scanned": (FolderSource, "scan"),
    "while it is embedded": (HashingEmbedder, "embed_gallery"),
    "before it ends": (IndexRun, "end"),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos", range(100))


@pytest.fixture
def context(tmp_path: Path) -> Iterator[IndexerContext]:
    with installation(tmp_path / "home") as context:
        yield context


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Do], None]:
    """Has something be done once, at a moment of the first job."""

    def arranged(moment: str, do: Do) -> None:
        kind, name = _MOMENTS[moment]
        method, left = getattr(kind, name), [do]

        def done_before(self: object, *arguments: object) -> object:
            if left:
                left.pop()()
            return method(self, *arguments)

        monkeypatch.setattr(kind, name, done_before)

    return arranged


def _delete(database: Database, name: str) -> None:
    with database.write() as session:
        collections.delete(session, name)


def _rows(database: Database) -> dict[str, int]:
    """The tables that have rows, with how many, except those that say who did what."""
    tables: list[Table] = [table for table in Row.metadata.sorted_tables if table.name not in _KEPT]
    with database.read() as session:
        counts = {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
    return {name: count for name, count in counts.items() if count}


def _run(context: IndexerContext, *job_ids: int) -> None:
    """Have a queue run jobs, one after the other, to their ends."""
    queue = InProcessQueue(lambda: context, reembed_context(context))
    for job_id in job_ids:
        queue.submit(job_id)
    queue._pool.shutdown(wait=True)
    queue.close()


@pytest.mark.parametrize("moment", _MOMENTS)
def test_nothing_is_left_of_it(
    context: IndexerContext, photos: Path, at: Callable[[str, Do], None], moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    job_id = job_for(context, photos).id
    at(moment, lambda: _delete(context.database, NAME))
    _run(context, job_id)
    assert _rows(context.database) == {}
    assert f"job {job_id}: the collection {NAME!r} was deleted while job {job_id} worked on it" in caplog.messages
    assert not [record for record in caplog.records if record.exc_info or record.levelname in ("WARNING", "ERROR")]
    with pytest.raises(JobNotFound, match="deleted with their collections"), context.database.read() as session:
        jobs.get(session, job_id)


def _scanned_job(context: IndexerContext, photos: Path) -> int:
    """A job that has listed its inputs and that any worker may go on with."""
    job, source = job_for(context, photos), open_source(context.settings, photos)
    with Owner(context.database, context.settings) as owner:
        IndexRun(lambda: context, source, owner, NoProgress()).scan(job)
        with context.database.write() as session:
            jobs.release(session, job.id, owner.name)
    return job.id


@pytest.mark.parametrize("moment", _MOMENTS)
def test_the_job_of_a_new_collection_of_its_name_and_number_is_another(
    context: IndexerContext, photos: Path, tmp_path: Path, at: Callable[[str, Do], None], moment: str
) -> None:
    others, second = folder_of(tmp_path / "others", range(100, 103)), list[int]()
    first = job_for(context, photos).id

    def replace_it() -> None:
        _delete(context.database, NAME)
        second.append(_scanned_job(context, others))

    at(moment, replace_it)
    _run(context, first)
    assert second == [first], "its number was given again"
    with context.database.read() as session:
        job = jobs.get_with_counts(session, first)
    assert (job.state, job.error, job.counts.open) == (JobState.RUNNING, None, 3)
    _run(context, first)
    with context.database.read() as session:
        job = jobs.get(session, first)
    assert (job.state, job.counts.indexed, job.counts.quarantined) == (JobState.DONE, 3, 0)
    assert len(held(context)) == 3
    check_agreement(context)


@pytest.mark.parametrize("moment", _MOMENTS)
def test_the_command_says_so_in_one_sentence(
    tmp_path: Path,
    photos: Path,
    at: Callable[[str, Do], None],
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("ANYSEEK_HOME", str(home))
    monkeypatch.setenv("ANYSEEK_MODEL", "hashing")
    with closing(open_database(Settings(home))) as database:
        at(moment, lambda: _delete(database, "a"))
        assert cli.run(["index", str(photos), "--collection", "a", "--json"]) == 1
        said = capsys.readouterr()
        assert said.err.splitlines()[-1] == "anyseek: the collection 'a' was deleted while job 1 worked on it"
        assert "Traceback" not in said.err
        assert _rows(database) == {}
