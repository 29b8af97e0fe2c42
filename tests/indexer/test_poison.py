"""An input that kills its worker: suspected after one death, quarantined after three more that it had to itself."""

import signal
from pathlib import Path

from PIL import Image

from anyseek.indexer.indexing import ensure_collection, open_job
from anyseek.indexer.runs import Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.search.catalogue import jobs
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.catalogue.ledger import DEADLY
from anyseek.search.settings import Settings, Work
from tests.forked import begun, exit_code
from tests.indexer.harness import NAME, Trapped, check_agreement, failures, held, index, installation, numbers
from tests.indexer.pictures import encoded, folder_of, png
from tests.search.gallery import begin_catalogue


def work(home: Path, folder: Path) -> None:
    """Index until the worker dies."""
    with installation(home, Trapped(), settings=Settings(home, work=Work(inputs_per_batch=4))) as context:
        index(context, folder)


def test_a_deadly_input_ends_in_quarantine_and_takes_nobody_along(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", range(12), "{:02}.png")
    (photos / "06-deadly.png").write_bytes(encoded(Image.new("RGB", (8, 8), (255, 0, 0)), "PNG"))
    begin_catalogue(tmp_path / "home")
    deaths = 0
    while (ended := exit_code(begun(work, tmp_path / "home", photos))) == -signal.SIGKILL:
        deaths += 1
        assert deaths <= 4, "the input should have been quarantined"
    assert (ended, deaths) == (0, 4)  # one in its range, three alone
    with installation(tmp_path / "home") as context:
        assert len(held(context)) == 12
        with context.database.read() as session:
            (job,) = jobs.list_page(session, None, 10)
        assert (job.state, job.counts.quarantined) == (JobState.DONE, 1)
        assert failures(context, job)["06-deadly.png"].code == DEADLY
        check_agreement(context)


def test_a_dead_owner_s_job_is_adopted_at_once(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", range(3))
    with installation(tmp_path / "home") as context:
        source, collection = open_source(context.settings, photos), ensure_collection(context, NAME)
        with Owner(context.database, context.settings) as first:
            job = open_job(collection, source, first, prune=False)
            with Owner(context.database, context.settings) as second:
                assert open_job(collection, source, second, prune=False).owner == first.name
        (photos / "3.png").write_bytes(png(3))
        done = index(context, photos)
        assert (done.id, done.state, numbers(done)) == (job.id, JobState.DONE, (4, 0, 0, 0))
