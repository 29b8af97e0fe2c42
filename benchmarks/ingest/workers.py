"""Inputs per second of real workers, with the PostgreSQL and Redis of the tests."""

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
from benchmarks.ingest.rates import Rate, Run, open_context
from tests.services.servers import Postgres, Redis, Server, ServerFailed
from tests.workers.processes import working

_POLL_SECONDS = 0.2  # polling every 0.05 s took a tenth of a core from the workers


class ServersMissing(Exception):
    """PostgreSQL or Redis cannot be started here."""


@contextmanager
def worker_runs(scratch: Path, files: Sequence[Path], embedder: Embedder, work: Work) -> Iterator[Callable[[int], Run]]:
    """Yield a function from a number of workers to their `Run`. Raises `ServersMissing`."""
    scratch.chmod(0o755)  # PostgreSQL may run as a user of its own
    with ExitStack() as stack:
        postgres, redis = (_start(stack, kind(scratch / kind.__name__)) for kind in (Postgres, Redis))
        settings = Settings(
            scratch / "home", database_url=postgres.url, broker_url=redis.url, model=embedder.name, work=work
        )
        context = open_context(settings, embedder)
        stack.callback(context.database.close)
        yield lambda number: partial(_run_workers, context, files, number)


def _start(stack: ExitStack, server: Server) -> Server:
    try:
        server.start()
    except ServerFailed as error:
        raise ServersMissing(str(error)) from error
    stack.callback(server.kill)
    return server


def _run_workers(context: IndexerContext, files: Sequence[Path], number: int) -> Rate:
    """Rate from submitting the job to its end; the workers are started before."""
    shutil.rmtree(context.settings.assets, ignore_errors=True)  # or the thumbnails of the last run would be reused
    with ExitStack() as stack:
        for name in range(number):
            stack.enter_context(working(context.settings, f"worker-{name}"))
        start = time.perf_counter()
        _run_job(context, files)
        return Rate(len(files) / (time.perf_counter() - start))


def _run_job(context: IndexerContext, files: Sequence[Path]) -> None:
    from anyseek.workers.celery_queue import CeleryQueue

    source, collection = (
        open_source(context.settings, files[0].parent),
        ensure_collection(context, f"c{time.time_ns()}"),
    )
    owner, queue = Owner(context.database, context.settings), CeleryQueue(context.database, context.settings)
    job = open_job(collection, source, owner, prune=False, adopt=False)
    queue.submit(job.id)
    while (job := queue.status(job.id)).active:
        time.sleep(_POLL_SECONDS)
    queue.close()
    assert (job.state, job.counts.indexed) == (JobState.DONE, len(files)), job
