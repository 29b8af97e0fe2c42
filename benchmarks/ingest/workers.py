"""Measure inputs per second of real workers, with PostgreSQL and Redis started as the tests start them."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from anyseek.indexer.indexing import ensure_collection, open_job
from anyseek.indexer.runs import IndexerContext, Owner
from anyseek.indexer.sources.opening import open_source
from anyseek.model.seam import Embedder
from anyseek.search.catalogue.jobs import JobState
from anyseek.search.settings import Settings, Work
from benchmarks.ingest.rates import Pace, Run, installation
from tests.services.servers import Postgres, Redis, Server, ServerFailed
from tests.workers.processes import working

_POLL_SECONDS = 0.2  # every 0.05 s it took a tenth of a core from the workers


class ServersMissing(Exception):
    """PostgreSQL or Redis cannot be started here."""


@contextmanager
def team(scratch: Path, files: Sequence[Path], embedder: Embedder, work: Work) -> Iterator[Callable[[int], Run]]:
    """Gives what makes a `Run` of a number of workers. Raises `ServersMissing`."""
    scratch.chmod(0o755)  # PostgreSQL may run as a user of its own
    with ExitStack() as stack:
        postgres, redis = (_started(stack, kind(scratch / kind.__name__)) for kind in (Postgres, Redis))
        settings = Settings(
            scratch / "home", database_url=postgres.url, broker_url=redis.url, model=embedder.name, work=work
        )
        context = installation(settings, embedder)
        stack.callback(context.database.close)
        yield lambda number: partial(_run, context, files, number)


def _started(stack: ExitStack, server: Server) -> Server:
    try:
        server.start()
    except ServerFailed as error:
        raise ServersMissing(str(error)) from error
    stack.callback(server.kill)
    return server


def _run(context: IndexerContext, files: Sequence[Path], number: int) -> Pace:
    """By the time from handing the job over to its end; the workers are ready before."""
    shutil.rmtree(context.settings.assets, ignore_errors=True)  # or thumbnails would be there from the last time
    with ExitStack() as stack:
        for name in range(number):
            stack.enter_context(working(context.settings, f"worker-{name}"))
        started = time.perf_counter()
        _index(context, files)
        return Pace(len(files) / (time.perf_counter() - started))


def _index(context: IndexerContext, files: Sequence[Path]) -> None:
    from anyseek.workers.celery_queue import CeleryQueue

    source, into = open_source(context.settings, files[0].parent), ensure_collection(context, f"c{time.time_ns()}")
    owner, queue = Owner(context.database, context.settings), CeleryQueue(context.database, context.settings)
    job = open_job(into, source, owner, prune=False, adopt=False)
    queue.submit(job.id)
    while (job := queue.status(job.id)).active:
        time.sleep(_POLL_SECONDS)
    queue.close()
    assert (job.state, job.counts.indexed) == (JobState.DONE, len(files)), job
