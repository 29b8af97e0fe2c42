"""The JSON of jobs, with examples for the OpenAPI description."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Body
from search.catalogue.jobs import Job
from search.catalogue.ledger import Failure


class JobBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"folder": "/srv/photos", "prune": False}})
    folder: str = Field(description="a folder of the service's machine, inside one of its configured roots")
    prune: bool = Field(False, description="also remove the items whose files are gone from the folder")


class JobAnswer(BaseModel):
    id: int
    kind: str = Field(examples=["index"])
    collection: str
    folder: str | None
    state: str = Field(description="scanning, running, done, failed or cancelled")
    error: str | None = Field(description="why it failed")
    indexed: int
    unchanged: int
    quarantined: int = Field(description="inputs that could not be taken; `failures` tells why")
    open: int = Field(description="inputs that wait or are being worked on")
    ignored: int = Field(description="files that are no pictures")
    pruned: int
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> "JobAnswer":
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
            open=job.counts.open,
            ignored=job.ignored,
            pruned=job.pruned,
            created_at=job.created_at,
            ended_at=job.ended_at,
        )


class JobsAnswer(BaseModel):
    jobs: list[JobAnswer]
    next: int | None = Field(description="send it as `before` for the page that follows; null at the end")


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
    next: int | None = Field(description="send it as `after` for the page that follows; null at the end")
