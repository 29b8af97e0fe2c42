"""Workers calibrate a collection in a task of its own once the job has ended."""

from pathlib import Path
from typing import Any

import pytest

from anyseek.indexer import calibrating
from anyseek.indexer.indexing import IndexRun, open_collection, open_job
from anyseek.indexer.runs import Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import collections, jobs
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.settings import Settings
from anyseek.workers.app import CALIBRATE_TASK, SNAPSHOT_TASK
from anyseek.workers.tasks import Tasks
from tests.indexer.harness import NAME, Counting, installation
from tests.indexer.test_calibrating import Named, add, curves


def test_the_end_of_a_job_hands_it_to_whoever_embeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "MADE_FOR_EACH", 1)
    monkeypatch.setattr("anyseek.workers.runtime.load_embedder", lambda name, home, device: Named())
    (tmp_path / "scenes").mkdir()
    add(tmp_path / "scenes", range(30))
    settings = Settings(tmp_path / "home", broker_url="redis://127.0.0.1:1/0", model=Named.name)
    with installation(tmp_path / "home", Named()) as tools:
        source = open_source(settings, tmp_path / "scenes")
        with Owner(tools.database, settings) as owner:
            job = open_job(open_collection(tools, NAME), source, owner, prune=False)
            run = IndexRun(lambda: tools, source, owner, Counting())
            assert run.scan(job)
            run.work(job)
        tasks, sent = Tasks(settings, lambda: False), list[Any]()
        monkeypatch.setattr(tasks._queue, "send", sent.extend)
        tasks.end(job.id)
        assert sent == [(SNAPSHOT_TASK, (NAME, job.id))]
        sent.clear()
        tasks.snapshot(NAME, job.id)  # may move the mean that curves are fitted on
        assert sent == [(CALIBRATE_TASK, (job.id,))]
        assert curves(tools) == {}
        tasks.calibrate(job.id)
        assert curves(tools)
        tasks.calibrate(job.id)  # a message that comes twice finds nothing to do
        with tools.database.read() as session:
            (space,) = collections.head(session, NAME).spaces
            assert jobs.get(session, job.id).state == JobState.DONE
        assert (space.calibrated_count, space.tuning_version) == (30, 1)
        tasks._runtime.close()
