"""Jobs: what runs, what could not be taken in, starting and cancelling."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import ServiceDependency, requires
from api.errors import RootRefused
from api.job_schemas import FailureAnswer, FailuresAnswer, JobAnswer, JobBody, JobsAnswer
from api.security import Scope
from api.service import Service
from search.catalogue import jobs, ledger

router = APIRouter(prefix="/v1", tags=["jobs"])

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


@router.post("/jobs/{job}/cancel", dependencies=[requires(Scope.WRITE)])
def cancel_job(job: int, service: ServiceDependency) -> JobAnswer:
    """Stop a job; what it has put in stays. Harmless if it has ended."""
    return JobAnswer.of(service.runtime.queue.cancel(job))


@router.post("/collections/{collection}/jobs", status_code=202, dependencies=[requires(Scope.WRITE)])
def start_index_job(collection: str, body: JobBody, service: ServiceDependency) -> JobAnswer:
    """Index a folder of the service's machine, inside one of the folders of ANYSEEK_ROOTS."""
    folder = _inside_roots(service, body.folder)
    service.check_ready()
    return get_job(service.runtime.submit_index(collection, folder, body.prune), service)


def _inside_roots(service: Service, name: str) -> Path:
    """The folder with its links followed. Raises `RootRefused`; whether a folder outside exists is not told."""
    folder = Path(name)
    roots = service.settings.roots
    if "\0" not in name and folder.is_absolute():
        folder = folder.resolve()
        if any(folder.is_relative_to(root) for root in roots):
            return folder
    raise RootRefused(
        "only folders inside the service's roots can be indexed over HTTP; "
        + ("this one is outside" if roots else "none are configured (ANYSEEK_ROOTS)")
    )
