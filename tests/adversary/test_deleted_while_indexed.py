"""A collection that is deleted while it is indexed stays deleted, and whoever indexes it is told so."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select

from anyseek.api import cli
from anyseek.indexer.indexing import IndexRun
from anyseek.indexer.runs import Owner, SilentProgress, Tools
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
from tests.indexer.harness import NAME, check_agreement, held, installation, job_for, reembed_tools
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
def tools(tmp_path: Path) -> Iterator[Tools]:
    with installation(tmp_path / "home") as tools:
        yield tools


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


def _run(tools: Tools, *job_ids: int) -> None:
    """Have a queue run jobs, one after the other, to their ends."""
    queue = InProcessQueue(lambda: tools, reembed_tools(tools))
    for job_id in job_ids:
        queue.submit(job_id)
    queue._pool.shutdown(wait=True)
    queue.close()


@pytest.mark.parametrize("moment", _MOMENTS)
def test_nothing_is_left_of_it(
    tools: Tools, photos: Path, at: Callable[[str, Do], None], moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    job_id = job_for(tools, photos).id
    at(moment, lambda: _delete(tools.database, NAME))
    _run(tools, job_id)
    assert _rows(tools.database) == {}
    assert f"job {job_id}: the collection {NAME!r} was deleted while job {job_id} worked on it" in caplog.messages
    assert not [record for record in caplog.records if record.exc_info or record.levelname in ("WARNING", "ERROR")]
    with pytest.raises(JobNotFound, match="deleted with their collections"), tools.database.read() as session:
        jobs.get(session, job_id)


def _scanned_job(tools: Tools, photos: Path) -> int:
    """A job that has listed its inputs and that any worker may go on with."""
    job, source = job_for(tools, photos), open_source(tools.settings, photos)
    with Owner(tools.database, tools.settings) as owner:
        IndexRun(lambda: tools, source, owner, SilentProgress()).scan(job)
        with tools.database.write() as session:
            jobs.release(session, job.id, owner.name)
    return job.id


@pytest.mark.parametrize("moment", _MOMENTS)
def test_the_job_of_a_new_collection_of_its_name_and_number_is_another(
    tools: Tools, photos: Path, tmp_path: Path, at: Callable[[str, Do], None], moment: str
) -> None:
    others, second = folder_of(tmp_path / "others", range(100, 103)), list[int]()
    first = job_for(tools, photos).id

    def replace_it() -> None:
        _delete(tools.database, NAME)
        second.append(_scanned_job(tools, others))

    at(moment, replace_it)
    _run(tools, first)
    assert second == [first], "its number was given again"
    with tools.database.read() as session:
        job = jobs.get_with_counts(session, first)
    assert (job.state, job.error, job.counts.open) == (JobState.RUNNING, None, 3)
    _run(tools, first)
    with tools.database.read() as session:
        job = jobs.get(session, first)
    assert (job.state, job.counts.indexed, job.counts.quarantined) == (JobState.DONE, 3, 0)
    assert len(held(tools)) == 3
    check_agreement(tools)


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
