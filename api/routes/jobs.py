"""Jobs: what runs, what could not be taken in, starting, cancelling, trying again, and watching."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.dependencies import ServiceDependency, requires
from api.errors import RootRefused
from api.events import event_text
from api.job_schemas import FailureAnswer, FailuresAnswer, JobAnswer, JobBody, JobEvent, JobsAnswer, RetryAnswer
from api.security import Scope
from api.service import Service
from indexer.sources.opening import is_remote
from search.catalogue import jobs, ledger
from search.errors import JobNotFound
from workers.pace import Observer

router = APIRouter(prefix="/v1", tags=["jobs"])

# A stream in which nothing happens says so, or what lies between would close it.
_SILENCE_SECONDS = 15.0
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}

Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]


@router.get("/jobs", dependencies=[requires(Scope.READ)])
def list_jobs(service: ServiceDependency, before: int | None = None, limit: Limit = 100) -> JobsAnswer:
    """Jobs, the newest first."""
    with service.runtime.database.read() as session:
        found = jobs.list_page(session, before, limit)
        counted = [jobs.get_with_counts(session, job.id) if job.active else job for job in found]
    return JobsAnswer(jobs=[JobAnswer.of(job) for job in counted], next=found[-1].id if len(found) == limit else None)


@router.get("/jobs/{job}", dependencies=[requires(Scope.READ)])
def get_job(job: int, service: ServiceDependency) -> JobAnswer:
    """One job and how far it is."""
    return JobAnswer.of(service.runtime.queue.status(job))


@router.get("/jobs/{job}/failures", dependencies=[requires(Scope.READ)])
def list_failures(job: int, service: ServiceDependency, after: int = 0, limit: Limit = 500) -> FailuresAnswer:
    """Inputs that could not be taken in, with the reason for each."""
    with service.runtime.database.read() as session:
        jobs.get(session, job)
        found = ledger.failures(session, job, after, limit)
    following = found[-1].id if len(found) == limit else None
    return FailuresAnswer(failures=[FailureAnswer.of(failure) for failure in found], next=following)


@router.get("/jobs/{job}/skipped", dependencies=[requires(Scope.READ)])
def list_skipped(job: int, service: ServiceDependency, after: int = 0, limit: Limit = 500) -> FailuresAnswer:
    """Inputs that were left out because another key has the same content, with that key in the reason."""
    with service.runtime.database.read() as session:
        jobs.get(session, job)
        found = ledger.skipped(session, job, after, limit)
    following = found[-1].id if len(found) == limit else None
    return FailuresAnswer(failures=[FailureAnswer.of(one) for one in found], next=following)


@router.post("/jobs/{job}/cancel", dependencies=[requires(Scope.WRITE)])
def cancel_job(job: int, service: ServiceDependency) -> JobAnswer:
    """Stop a job; what it has put in stays. Harmless if it has ended."""
    return JobAnswer.of(service.runtime.queue.cancel(job))


@router.post("/jobs/{job}/retry", dependencies=[requires(Scope.WRITE)])
def retry_job(job: int, service: ServiceDependency) -> RetryAnswer:
    """Try the quarantined inputs of a job again, but for those that were refused while its folder was listed."""
    reopened = service.runtime.retry(job)
    return RetryAnswer(reopened=reopened, job=get_job(job, service))


@router.get(
    "/jobs/{job}/events", dependencies=[requires(Scope.READ)], responses=_STREAM, response_class=StreamingResponse
)
async def watch_job(job: int, service: ServiceDependency) -> StreamingResponse:
    """How far a job is, as server-sent events: `progress` whenever something has changed, and `end` as the last."""
    await run_in_threadpool(get_job, job, service)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(_events(service, job), media_type="text/event-stream", headers=headers)


async def _events(service: Service, job: int) -> AsyncIterator[str]:
    observer = Observer(lambda: service.runtime.queue.status(job))
    told, told_at = None, 0.0
    while True:
        try:
            seen = await run_in_threadpool(observer.see)
        except JobNotFound:  # its collection was deleted meanwhile
            return
        if not seen.job.active:
            yield event_text("end", JobEvent.of(seen).model_dump_json())
            return
        if seen.job != told:
            told, told_at = seen.job, time.monotonic()
            yield event_text("progress", JobEvent.of(seen).model_dump_json())
        elif time.monotonic() - told_at >= _SILENCE_SECONDS:
            told_at = time.monotonic()
            yield ": nothing new\n\n"
        await anyio.sleep(observer.wait)


@router.post("/collections/{collection}/jobs", status_code=202, dependencies=[requires(Scope.WRITE)])
def start_index_job(collection: str, body: JobBody, service: ServiceDependency) -> JobAnswer:
    """Index a source: files of the service's machine inside ANYSEEK_ROOTS, or what lies below ANYSEEK_REMOTE_ROOTS."""
    source = _inside_roots(service, body.source)
    service.check_ready()
    return get_job(service.runtime.submit_index(collection, source, body.prune, body.on_duplicate), service)


def _inside_roots(service: Service, name: str) -> str | Path:
    """The source with its links followed. Raises `RootRefused`; whether something outside exists is not told."""
    if is_remote(name):
        return _inside_remote_roots(service, name)
    folder = Path(name)
    roots = service.settings.roots
    if "\0" not in name and folder.is_absolute():
        folder = folder.resolve()
        if any(folder.is_relative_to(root) for root in roots):
            return folder
    raise RootRefused(
        "only sources inside the service's roots can be indexed over HTTP; "
        + ("this one is outside" if roots else "none are configured (ANYSEEK_ROOTS)")
    )


def _inside_remote_roots(service: Service, address: str) -> str:
    roots = [root.strip().rstrip("/") for root in service.runtime.settings.remote_roots.split(",") if root.strip()]
    has_steps_up = ".." in address.split("/")
    if "\0" not in address and not has_steps_up and any(f"{address}/".startswith(f"{root}/") for root in roots):
        return address
    raise RootRefused(
        "only addresses below the service's remote roots can be indexed over HTTP; "
        + ("this one is not" if roots else "none are configured (ANYSEEK_REMOTE_ROOTS)")
    )
