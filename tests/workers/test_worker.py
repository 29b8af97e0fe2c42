"""Real workers on a real broker and PostgreSQL: killed, stopped, robbed of their broker. Nothing is lost or doubled."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from anyseek.indexer.runs import IndexerContext
from anyseek.search.catalogue import ledger
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.catalogue.tables import LedgerRow, LogRow
from anyseek.search.settings import Settings
from anyseek.workers.readiness import is_ready
from tests.contracts.catalogue import empty
from tests.indexer.harness import check_agreement, failures, held, installation
from tests.indexer.pictures import encoded, png, write
from tests.services.servers import Rabbit, Redis, Server
from tests.workers.processes import POSTGRES, WorkerProcess, look, settings_of, submit, wait_for, working

RABBIT = "ANYSEEK_TEST_RABBITMQ"
pytestmark = pytest.mark.skipif(
    POSTGRES not in os.environ or RABBIT not in os.environ, reason=f"{POSTGRES} or {RABBIT} is not set"
)

INPUTS, BAD = 150, 5
# Has a worker die when it meets a picture whose first pixel is pure red.
TRAP = (
    "import anyseek.model.hashing as hashing\nfrom tests.indexer.harness import Trapped\n"
    "hashing.HashingEmbedder = Trapped"
)
# Each task takes some seconds.
SLOW = "from tests.faults import traps; traps.slow_down(0.2)"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis of the test's own, which it may kill."""
    server = Redis(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=[Redis, Rabbit])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """One of each kind, of the test's own."""
    server = request.param(tmp_path / "broker")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    pictures = {f"{number:03}.png": png(number) for number in range(INPUTS)}
    broken = {name: data[: len(data) // 2] for name, data in list(pictures.items())[:BAD]}
    return write(tmp_path / "photos", pictures | broken)


def on_rabbit(home: Path) -> Settings:
    return settings_of(home, os.environ[RABBIT])


def started(context: IndexerContext, folder: Path) -> int:
    """The only job in the catalogue, handed to the workers."""
    empty(context.database)
    return submit(context, folder)


def wait_for_settled(context: IndexerContext, job_id: int, inputs: int) -> None:
    wait_for(lambda: look(context, job_id).counts.settled >= inputs, f"{inputs} settled inputs")


def check_exactly_once(context: IndexerContext, job_id: int, quarantined: int = BAD) -> None:
    """The job ends with everything in, once, and what is bad in quarantine."""
    wait_for(lambda: not look(context, job_id).active, "the job's end")
    job = look(context, job_id)
    good = INPUTS - BAD
    assert (job.state, job.counts.indexed, job.counts.quarantined) == (JobState.DONE, good, quarantined)
    assert len(held(context)) == good
    assert all(item.revision == 1 for item in held(context).values())
    with context.database.read() as session:
        entries = Counter(session.scalars(select(LogRow.item_id).where(LogRow.kind == "upsert")))
    assert set(entries.values()) == {1}
    check_agreement(context)


def attempts(context: IndexerContext, job_id: int) -> set[int]:
    with context.database.read() as session:
        return set(
            session.scalars(select(LedgerRow.attempts).where(LedgerRow.job_id == job_id, LedgerRow.attempts > 0))
        )


def working_on(context: IndexerContext, job_id: int) -> set[str | None]:
    """Who has leased inputs of a job."""
    leased = select(LedgerRow.owner).where(LedgerRow.job_id == job_id, LedgerRow.state == ledger.LEASED)
    with context.database.read() as session:
        return set(session.scalars(leased))


def test_a_worker_is_killed_and_then_the_broker_loses_everything(tmp_path: Path, photos: Path, redis: Redis) -> None:
    settings = settings_of(tmp_path / "home", redis.url)
    with (
        installation(settings.home, settings=settings) as context,
        working(settings, "first") as first,
        working(settings, "second"),
    ):
        job_id = started(context, photos)
        wait_for_settled(context, job_id, 16)
        first.kill()
        assert not is_ready(settings, "first")
        wait_for_settled(context, job_id, 32)
        redis.kill()
        redis.start()
        check_exactly_once(context, job_id)


def test_a_broker_that_is_away_while_all_tasks_end(tmp_path: Path, photos: Path, broker: Server) -> None:
    """A worker that could give none of its messages back asks for others all the same."""
    settings = settings_of(tmp_path / "home", broker.url)
    with (
        installation(settings.home, settings=settings) as context,
        working(settings, "only", before=SLOW) as worker,
    ):
        job_id = started(context, photos)
        wait_for(lambda: len(working_on(context, job_id)) == settings.work.concurrency, "all processes to be at work")
        broker.kill()
        wait_for(lambda: not working_on(context, job_id), "the end of what they do")
        wait_for(lambda: "Couldn't ack" in worker.log or not isinstance(broker, Redis), "a message to be kept")
        broker.start()
        check_exactly_once(context, job_id)
        assert "Error in timer" not in worker.log, "that the broker is away is told in a line"


def test_a_worker_that_is_told_to_stop_gives_its_work_back(tmp_path: Path, photos: Path) -> None:
    settings = on_rabbit(tmp_path / "home")
    with installation(settings.home, settings=settings) as context, working(settings, "first") as first:
        job_id = started(context, photos)
        wait_for_settled(context, job_id, 16)
        assert ("decodes its inputs run as root" in first.log) == (os.geteuid() == 0)
        assert "Warning" not in first.log, "nor in any of Celery's paragraphs"
        assert first.terminate() == 0
        assert not is_ready(settings, "first")
        left = look(context, job_id)
        assert left.active
        assert left.counts.open
        with working(settings, "second"):
            check_exactly_once(context, job_id)
        assert attempts(context, job_id) == {1}, "what was given back does not count as tried"


def test_an_input_that_kills_its_worker_each_time_is_quarantined_alone(tmp_path: Path, photos: Path) -> None:
    (photos / "deadly.png").write_bytes(encoded(Image.new("RGB", (8, 8), (255, 0, 0)), "PNG"))
    settings = on_rabbit(tmp_path / "home")
    with installation(settings.home, settings=settings) as context, working(settings, "only", before=TRAP):
        job_id = started(context, photos)
        check_exactly_once(context, job_id, BAD + 1)
        assert failures(context, look(context, job_id))["deadly.png"].code == ledger.DEADLY


def test_queues_share_the_work_out(tmp_path: Path, photos: Path) -> None:
    """A worker that embeds only ends no job, and one that embeds nothing loads no model."""
    settings = on_rabbit(tmp_path / "home")
    no_model = ("--queues", "ingest,index,maintenance", "--model", "psychic")
    with installation(settings.home, settings=settings) as context, working(settings, "embeds", "--queues", "embed"):
        job_id = started(context, photos)
        assert look(context, job_id).state == JobState.SCANNING
        with working(settings, "others", *no_model):
            check_exactly_once(context, job_id)


def test_a_worker_without_its_model_ends(tmp_path: Path) -> None:
    settings = on_rabbit(tmp_path / "home")
    worker = WorkerProcess(settings, "none", "--model", "psychic")
    try:
        wait_for(lambda: worker.process.poll() is not None, "the worker to end")
    finally:
        worker.kill()
    assert worker.process.returncode == 1
    assert "'psychic' is not a model" in worker.log
