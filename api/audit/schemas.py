"""The JSON of the audit log."""

from dataclasses import asdict
from datetime import datetime

from pydantic import BaseModel, Field

from anyseek.api.pagination import Next
from anyseek.search.catalogue.audit import Entry


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
