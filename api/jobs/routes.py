"""Jobs: list, start, watch, cancel and retry them, and list what could not be indexed."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from anyseek.api.dependencies import IN_TURN, JsonRoute, ServiceDependency, requires
from anyseek.api.jobs.roots import folders_below, inside_roots
from anyseek.api.jobs.schemas import (
    FailureAnswer,
    FailuresAnswer,
    FoldersAnswer,
    JobAnswer,
    JobBody,
    JobEvent,
    JobsAnswer,
    RetryAnswer,
)
from anyseek.api.jobs.wire import event_text
from anyseek.api.pagination import Limit, Number, following
from anyseek.api.security import Scope
from anyseek.api.service import Service
from anyseek.indexer.sources.prefixed import read_prefix
from anyseek.search.catalogue import jobs, ledger
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.ledger import Failure
from anyseek.search.errors import JobNotFound

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=JsonRoute)

# An idle stream sends comments, or proxies would close it.
_SILENCE_SECONDS = 15.0
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


@router.get("/jobs", dependencies=[requires(Scope.READ)])
def list_jobs(service: ServiceDependency, before: Number | None = None, limit: Limit = 100) -> JobsAnswer:
    """List jobs, newest first."""
    with service.runtime.database.read() as session:
        found = jobs.list_page(session, before, limit)
    answers = [answer for job in found for answer in _answers(service, job)]
    return JobsAnswer(jobs=answers, next=following(found, limit, lambda job: job.id))


@router.get("/jobs/{job}", dependencies=[requires(Scope.READ)])
def get_job(job: Number, service: ServiceDependency) -> JobAnswer:
    """Get one job with its progress. Its time left is known once it has been asked for a few times while it runs."""
    return _answer(service, job)


def _answers(service: Service, job: Job) -> list[JobAnswer]:
    """The job with its progress, or nothing if its collection has been deleted meanwhile."""
    if not job.active:
        return [JobAnswer.of(job)]
    try:
        return [_answer(service, job.id)]
    except JobNotFound:
        return []


def _answer(service: Service, job_id: int, now: bool = False) -> JobAnswer:
    """The job as it was seen lately, or `now`, after a change. Raises `JobNotFound`."""
    seen = service.observers.see(job_id, now)
    return JobAnswer.of(seen.job, seen.seconds_left)


@router.get("/jobs/{job}/failures", dependencies=[requires(Scope.READ)])
def list_failures(job: Number, service: ServiceDependency, after: Number = 0, limit: Limit = 500) -> FailuresAnswer:
    """List inputs that could not be indexed, each with its reason."""
    return _failures_page(service, job, ledger.failures, after, limit)


@router.get("/jobs/{job}/skipped", dependencies=[requires(Scope.READ)])
def list_skipped(job: Number, service: ServiceDependency, after: Number = 0, limit: Limit = 500) -> FailuresAnswer:
    """List inputs that were left out because another key has the same content; the reason names that key."""
    return _failures_page(service, job, ledger.skipped, after, limit)


def _failures_page(
    service: Service, job: int, read: Callable[[Session, int, int, int], list[Failure]], after: int, limit: int
) -> FailuresAnswer:
    with service.runtime.database.read() as session:
        jobs.get(session, job)
        found = read(session, job, after, limit)
    cursor = following(found, limit, lambda failure: failure.id)
    return FailuresAnswer(failures=[FailureAnswer.of(failure) for failure in found], next=cursor)


@router.post("/jobs/{job}/cancel", dependencies=[requires(Scope.WRITE), IN_TURN])
def cancel_job(job: Number, service: ServiceDependency) -> JobAnswer:
    """Stop a job. What it has indexed stays. Harmless if the job has ended."""
    service.runtime.queue.cancel(job)
    return _answer(service, job, now=True)


@router.post("/jobs/{job}/retry", dependencies=[requires(Scope.WRITE), IN_TURN])
def retry_job(job: Number, service: ServiceDependency) -> RetryAnswer:
    """Retry the quarantined inputs of a job, except those that were refused while its folder was listed."""
    reopened = service.runtime.retry(job)
    return RetryAnswer(reopened=reopened, job=_answer(service, job, now=True))


@router.get(
    "/jobs/{job}/events", dependencies=[requires(Scope.READ)], responses=_STREAM, response_class=StreamingResponse
)
async def watch_job(job: Number, service: ServiceDependency) -> StreamingResponse:
    """Watch a job by server-sent events: `progress` whenever something has changed, and `end` as the last."""
    await run_in_threadpool(get_job, job, service)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(_events(service, job), media_type="text/event-stream", headers=headers)


async def _events(service: Service, job: int) -> AsyncIterator[str]:
    told, told_at = None, 0.0
    while True:
        try:
            seen = await run_in_threadpool(service.observers.see, job)
        except JobNotFound:  # its collection has been deleted in the meantime
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
        await anyio.sleep(seen.wait)


@router.post("/collections/{collection}/jobs", status_code=202, dependencies=[requires(Scope.WRITE), IN_TURN])
def start_index_job(collection: str, body: JobBody, service: ServiceDependency) -> JobAnswer:
    """Index a source: files on the service's machine inside ANYSEEK_ROOTS, or addresses below ANYSEEK_REMOTE_ROOTS."""
    source = inside_roots(service, body.source)
    service.check_ready()
    prefix = None if body.key_prefix is None else read_prefix(body.key_prefix)
    job = service.runtime.submit_index(
        collection, source, body.prune, body.on_duplicate, prefix, body.predict_attributes
    )
    return _answer(service, job, now=True)


@router.get("/folders", dependencies=[requires(Scope.WRITE)])
def list_folders(service: ServiceDependency, path: str | None = None) -> FoldersAnswer:
    """List the folders from which jobs may be started: the roots, or those in `path`."""
    return FoldersAnswer(path=path, folders=folders_below(service, path))
