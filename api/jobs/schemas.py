"""The JSON of jobs, with examples for the OpenAPI description."""

from datetime import datetime

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from anyseek.api.pagination import Next
from anyseek.api.schemas import Body
from anyseek.search.catalogue.jobs import Job
from anyseek.search.catalogue.ledger import Failure
from anyseek.search.types import OnDuplicate
from anyseek.workers.pace import Seen


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


class JobAnswer(BaseModel):
    id: int
    kind: str = Field(examples=["index"])
    collection: str
    folder: str | None = Field(description="the source")
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
        return cls(
            id=job.id,
            kind=job.kind,
            collection=job.collection,
            folder=job.root,
            state=job.state.value,
            error=job.error,
            indexed=job.counts.indexed,
            unchanged=job.counts.unchanged,
            quarantined=job.counts.quarantined,
            skipped=job.counts.skipped,
            open=job.counts.open,
            ignored=job.ignored,
            pruned=job.pruned,
            created_at=job.created_at,
            ended_at=job.ended_at,
            seconds_left=seconds_left,
        )


class JobEvent(BaseModel):
    job: JobAnswer
    done: int = Field(description="inputs that are settled, quarantined ones included")
    quarantined: int
    rate: float | None = Field(description="inputs that took work per second, recently; null until it is known")
    seconds_left: float | None = Field(description="for the open inputs; null until it is known")

    @classmethod
    def of(cls, seen: Seen) -> "JobEvent":
        counts = seen.job.counts
        return cls(
            job=JobAnswer.of(seen.job, seen.seconds_left),
            done=counts.settled,
            quarantined=counts.quarantined,
            rate=seen.rate,
            seconds_left=seen.seconds_left,
        )


class RetryAnswer(BaseModel):
    reopened: int = Field(description="inputs that will be tried again")
    job: JobAnswer


class JobsAnswer(BaseModel):
    jobs: list[JobAnswer]
    next: Next[int]


class FailureAnswer(BaseModel):
    id: int
    input: str = Field(description="the file", examples=["broken.jpg"])
    key: str
    code: str = Field(description="stable", examples=["broken-picture"])
    reason: str = Field(description="one sentence")

    @classmethod
    def of(cls, failure: Failure) -> "FailureAnswer":
        return cls(id=failure.id, input=failure.uri, key=failure.key, code=failure.code, reason=failure.reason)


class FailuresAnswer(BaseModel):
    failures: list[FailureAnswer]
    next: Next[int]


class FoldersAnswer(BaseModel):
    path: str | None = Field(description="the folder that was asked for; null for the roots")
    folders: list[str] = Field(description="absolute paths", examples=[["/srv/photos/2023", "/srv/photos/2024"]])
