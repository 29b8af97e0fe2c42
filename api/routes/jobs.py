"""Jobs: list, start, watch, cancel and retry them, and list inputs that could not be indexed."""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from anyseek.api.dependencies import WRITE_SLOT, JsonRoute, MaySeePaths, ServiceDependency, requires
from anyseek.api.errors import RootRefused
from anyseek.api.http.security import Scope
from anyseek.api.redaction import redact_paths
from anyseek.api.schemas import Answer, Body, Limit, Next, Number, next_cursor
from anyseek.api.service import Service
from anyseek.indexer.paths import from_uri, is_remote
from anyseek.indexer.placing import parse_prefix
from anyseek.search.catalogue import jobs, ledger
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.ledger import Failure
from anyseek.search.errors import BadInput, JobNotFound
from anyseek.search.types import OnDuplicate
from anyseek.workers.job_rate import JobProgress

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=JsonRoute)

# An idle stream sends comments to keep proxies from closing it.
_KEEPALIVE_SECONDS = 15.0
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


class JobBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"source": "/srv/photos", "prune": False}})
    source: str = Field(
        validation_alias=AliasChoices("source", "folder"),
        description="a folder, table, list of URLs or shards on the service's machine, inside one of ANYSEEK_ROOTS, or "
        "an address as s3://bucket/prefix below one of ANYSEEK_REMOTE_ROOTS; `folder` is the same",
    )
    prune: bool = Field(False, description="also remove the items that the source no longer has")
    key_prefix: str | None = Field(
        None,
        description="what the keys of a new source begin with, before a slash; by default the folder's name, and only"
        " if keys would clash",
    )
    on_duplicate: OnDuplicate = Field(
        OnDuplicate.LINK,
        description="what happens to content that another key already has: both are kept, the later one is left out"
        " (skip), or quarantined (error)",
    )
    predict_attributes: bool | None = Field(
        None,
        description="whether items get attributes below `predicted`; the source keeps the choice, and null leaves it",
    )


class JobAnswer(Answer):
    """A job with the numbers of its inputs by state."""

    id: int
    kind: str = Field(examples=["index"])
    collection: str
    folder: str | None = Field(validation_alias="root", description="the source; null for keys without the scope admin")
    state: str = Field(description="scanning, running, done, failed or cancelled")
    error: str | None = Field(description="why it failed")
    indexed: int
    unchanged: int
    quarantined: int = Field(description="inputs that could not be indexed; `failures` says why")
    skipped: int = Field(description="inputs left out because another key has the same content; `skipped` names it")
    open: int = Field(description="inputs that are waiting or being worked on")
    ignored: int = Field(description="files that are not pictures")
    pruned: int
    created_at: datetime
    ended_at: datetime | None
    seconds_left: float | None = Field(description="at the recent pace; null until it is known, and once it has ended")

    @classmethod
    def of(cls, job: Job, seconds_left: float | None = None) -> "JobAnswer":
        return cls.read({**vars(job), **vars(job.counts), "seconds_left": seconds_left})


class JobEvent(Answer):
    """The progress of a job."""

    job: JobAnswer
    done: int = Field(description="inputs that are settled, quarantined ones included")
    quarantined: int
    rate: float | None = Field(description="inputs that took work per second, recently; null until it is known")
    seconds_left: float | None = Field(description="for the open inputs; null until it is known")

    @classmethod
    def of(cls, seen: JobProgress) -> "JobEvent":
        counts = seen.job.counts
        return cls(
            job=JobAnswer.of(seen.job, seen.seconds_left),
            done=counts.settled,
            quarantined=counts.quarantined,
            rate=seen.rate,
            seconds_left=seen.seconds_left,
        )


class RetryAnswer(Answer):
    """A job whose failed inputs are retried."""

    reopened: int = Field(description="inputs that will be tried again")
    job: JobAnswer


class JobsAnswer(BaseModel):
    jobs: list[JobAnswer]
    next: Next[int]


class FailureAnswer(Answer):
    """An input that a job could not index, or left out."""

    id: int
    input: str = Field(validation_alias="uri", description="the file", examples=["broken.jpg"])
    key: str
    code: str = Field(description="stable", examples=["broken-picture"])
    reason: str = Field(description="one sentence")


class FailuresAnswer(BaseModel):
    failures: list[FailureAnswer]
    next: Next[int]


class SourceFoldersAnswer(BaseModel):
    path: str | None = Field(description="the folder that was asked for; null for the roots")
    folders: list[str] = Field(description="absolute paths", examples=[["/srv/photos/2023", "/srv/photos/2024"]])


@router.get("/jobs", dependencies=[requires(Scope.READ)])
def list_jobs(
    service: ServiceDependency, paths: MaySeePaths, before: Number | None = None, limit: Limit = 100
) -> JobsAnswer:
    """List jobs, newest first."""
    with service.runtime.database.read() as session:
        page = jobs.list_page(session, before, limit)
    answers = [answer for job in page for answer in _answers(service, job, paths)]
    return JobsAnswer(jobs=answers, next=next_cursor(page, limit, lambda job: job.id))


@router.get("/jobs/{job}", dependencies=[requires(Scope.READ)])
def get_job(job: Number, service: ServiceDependency, paths: MaySeePaths) -> JobAnswer:
    """Get one job with its progress. The time left is known after a few requests while it runs."""
    return _answer(service, job, paths)


def _answers(service: Service, job: Job, paths: bool) -> list[JobAnswer]:
    """The job with its progress; empty if its collection has just been deleted."""
    if not job.active:
        return [JobAnswer.of(_redact_job(service, job, paths))]
    try:
        return [_answer(service, job.id, paths)]
    except JobNotFound:
        return []


def _answer(service: Service, job_id: int, paths: bool, now: bool = False) -> JobAnswer:
    """The latest progress of a job, measured now if `now`. Raises `JobNotFound`."""
    seen = service.progress_monitors.progress(job_id, now)
    return JobAnswer.of(_redact_job(service, seen.job, paths), seen.seconds_left)


def _redact_job(service: Service, job: Job, paths: bool) -> Job:
    """The job, with paths redacted unless the caller may see `paths`."""
    if paths:
        return job
    return replace(job, root=None, error=job.error and redact_paths(job.error, _private_paths(service, job)))


def _private_paths(service: Service, job: Job) -> list[str | Path]:
    """The folders that texts of a job may name."""
    if job.root is None:
        return list(service.private_paths)
    root = Path(from_uri(job.root))
    return [*service.private_paths, job.root, root, root.parent]


@router.get("/jobs/{job}/failures", dependencies=[requires(Scope.READ)])
def list_failures(
    job: Number, service: ServiceDependency, paths: MaySeePaths, after: Number = 0, limit: Limit = 500
) -> FailuresAnswer:
    """List inputs that could not be indexed, each with its reason."""
    return _failures_page(service, job, paths, ledger.list_failures, after, limit)


@router.get("/jobs/{job}/skipped", dependencies=[requires(Scope.READ)])
def list_skipped(
    job: Number, service: ServiceDependency, paths: MaySeePaths, after: Number = 0, limit: Limit = 500
) -> FailuresAnswer:
    """List inputs that were skipped because another key has the same content; the reason names that key."""
    return _failures_page(service, job, paths, ledger.list_skipped, after, limit)


def _failures_page(
    service: Service,
    job: int,
    paths: bool,
    read: Callable[[Session, int, int, int], list[Failure]],
    after: int,
    limit: int,
) -> FailuresAnswer:
    with service.runtime.database.read() as session:
        hidden = _private_paths(service, jobs.get(session, job))
        page = read(session, job, after, limit)
    cursor = next_cursor(page, limit, lambda failure: failure.id)
    if not paths:
        page = [_redact_failure(failure, hidden) for failure in page]
    return FailuresAnswer(failures=[FailureAnswer.read(failure) for failure in page], next=cursor)


def _redact_failure(failure: Failure, hidden: Iterable[str | Path]) -> Failure:
    uri, reason = (redact_paths(text, hidden) for text in (failure.uri, failure.reason))
    return replace(failure, uri=uri, reason=reason)


@router.post("/jobs/{job}/cancel", dependencies=[requires(Scope.WRITE), WRITE_SLOT])
def cancel_job(job: Number, service: ServiceDependency, paths: MaySeePaths) -> JobAnswer:
    """Stop a job. What it has indexed stays. Harmless if the job has ended."""
    service.runtime.queue.cancel(job)
    return _answer(service, job, paths, now=True)


@router.post("/jobs/{job}/retry", dependencies=[requires(Scope.WRITE), WRITE_SLOT])
def retry_job(job: Number, service: ServiceDependency, paths: MaySeePaths) -> RetryAnswer:
    """Retry the quarantined inputs of a job, except those refused while its folder was listed."""
    reopened = service.runtime.retry(job)
    return RetryAnswer(reopened=reopened, job=_answer(service, job, paths, now=True))


@router.get(
    "/jobs/{job}/events", dependencies=[requires(Scope.READ)], responses=_STREAM, response_class=StreamingResponse
)
async def watch_job(job: Number, service: ServiceDependency, paths: MaySeePaths) -> StreamingResponse:
    """Watch a job by server-sent events: `progress` at each change, and `end` last."""
    await run_in_threadpool(get_job, job, service, paths)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(_events(service, job, paths), media_type="text/event-stream", headers=headers)


async def _events(service: Service, job: int, paths: bool) -> AsyncIterator[str]:
    sent, sent_at = None, 0.0
    while True:
        try:
            seen = await run_in_threadpool(service.progress_monitors.progress, job)
        except JobNotFound:  # its collection has just been deleted
            return
        event = JobEvent.of(replace(seen, job=_redact_job(service, seen.job, paths)))
        if not seen.job.active:
            yield _event_text("end", event.model_dump_json())
            return
        if seen.job != sent:
            sent, sent_at = seen.job, time.monotonic()
            yield _event_text("progress", event.model_dump_json())
        elif time.monotonic() - sent_at >= _KEEPALIVE_SECONDS:
            sent_at = time.monotonic()
            yield ": nothing new\n\n"
        await anyio.sleep(seen.wait)


def _event_text(name: str, data: str) -> str:
    """One server-sent event; `data` is JSON on one line."""
    return f"event: {name}\ndata: {data}\n\n"


@router.post("/collections/{collection}/jobs", status_code=202, dependencies=[requires(Scope.WRITE), WRITE_SLOT])
def start_index_job(collection: str, body: JobBody, service: ServiceDependency, paths: MaySeePaths) -> JobAnswer:
    """Index a source: files on the service's machine inside ANYSEEK_ROOTS, or addresses below ANYSEEK_REMOTE_ROOTS."""
    source = _check_inside_roots(service, body.source)
    service.check_ready()
    prefix = None if body.key_prefix is None else parse_prefix(body.key_prefix)
    job = service.runtime.submit_index(
        collection, source, body.prune, body.on_duplicate, prefix, body.predict_attributes
    )
    return _answer(service, job, paths, now=True)


@router.get("/folders", dependencies=[requires(Scope.WRITE)])
def list_source_folders(service: ServiceDependency, path: str | None = None) -> SourceFoldersAnswer:
    """List folders that jobs may index: the roots, or the folders in `path`."""
    return SourceFoldersAnswer(path=path, folders=_list_folders(service, path))


def _list_folders(service: Service, path: str | None) -> list[str]:
    """The absolute paths of the folders in `path`, sorted, without hidden ones; the roots if `path` is None.

    Raises `RootRefused`, and `BadInput` unless it is a readable folder.
    """
    if path is None:
        return [str(root) for root in service.settings.roots]
    folder = _check_inside_roots(service, path)
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise BadInput(f"{path} is not a readable folder: {error.strerror}") from error


def _check_inside_roots(service: Service, name: str) -> str | Path:
    """The source with symbolic links resolved. Raises `RootRefused`, which does not reveal whether a path exists."""
    if service.settings.in_process:
        return name if is_remote(name) else Path(name).resolve()
    if is_remote(name):
        return _check_inside_remote_roots(service, name)
    folder = Path(name)
    roots = service.settings.roots
    if "\0" not in name and folder.is_absolute():
        folder = folder.resolve()
        if any(folder.is_relative_to(root) for root in roots):
            return folder
    raise RootRefused(
        "over HTTP only sources inside the service's roots can be indexed; "
        + ("this source is outside" if roots else "none are configured (ANYSEEK_ROOTS)")
    )


def _check_inside_remote_roots(service: Service, address: str) -> str:
    roots = [root.strip().rstrip("/") for root in service.runtime.settings.remote_roots.split(",") if root.strip()]
    has_parent_steps = ".." in address.split("/")
    if "\0" not in address and not has_parent_steps and any(f"{address}/".startswith(f"{root}/") for root in roots):
        return address
    raise RootRefused(
        "over HTTP only addresses below the service's remote roots can be indexed; "
        + ("this address is not" if roots else "none are configured (ANYSEEK_REMOTE_ROOTS)")
    )
