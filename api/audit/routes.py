"""The audit log: who changed what, and when."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from anyseek.api.dependencies import ServiceDependency, requires
from anyseek.api.http.security import Scope
from anyseek.api.pagination import Limit, Next, Number, following
from anyseek.search.catalogue import audit
from anyseek.search.catalogue.audit import Entry, Wanted

router = APIRouter(prefix="/v1/audit", tags=["audit"], dependencies=[requires(Scope.ADMIN)])

Who = Annotated[str | None, Query(description="`key:NAME`, `user:NAME` or `anybody`", examples=["key:alice"])]
Action = Annotated[
    str | None, Query(description="an action, or its part before the dot", examples=["item", "key.create"])
]
Since = Annotated[AwareDatetime | None, Query(description="this moment or later", examples=["2026-01-31T00:00:00Z"])]
Until = Annotated[AwareDatetime | None, Query(description="before this moment")]


class EntryAnswer(BaseModel):
    id: int
    at: datetime
    who: str = Field(description="`key:NAME` of an API key, `user:NAME` of a command, `anybody` while no key existed")
    address: str | None = Field(description="where the request came from; null for commands", examples=["10.0.0.7"])
    request_id: str | None = Field(description="also in the service's log")
    action: str = Field(examples=["item.put"])
    collection: str | None = Field(examples=["photos"])
    target: str | None = Field(description="a key, a job, a source or an API key's name", examples=["holiday/1.jpg"])

    @classmethod
    def of(cls, entry: Entry) -> "EntryAnswer":
        return cls(**asdict(entry))


class AuditAnswer(BaseModel):
    entries: list[EntryAnswer]
    next: Next[int]


@router.get("")
def list_entries(
    service: ServiceDependency,
    who: Who = None,
    action: Action = None,
    collection: str | None = None,
    since: Since = None,
    until: Until = None,
    before: Number | None = None,
    limit: Limit = 100,
) -> AuditAnswer:
    """List changes, newest first, a page at a time."""
    with service.runtime.database.read() as session:
        found = audit.list_page(session, Wanted(who, action, collection, since, until), before, limit)
    return AuditAnswer(
        entries=[EntryAnswer.of(entry) for entry in found], next=following(found, limit, lambda entry: entry.id)
    )
