"""Routes of the service as a whole: its model, the quota of the caller's API key, and the audit log."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from anyseek.api.dependencies import ServiceDependency, requires
from anyseek.api.http.security import Scope
from anyseek.api.schemas import FINGERPRINT, Answer, Limit, Next, Number, SpaceAnswer, next_cursor
from anyseek.model.modalities.reading.decode import forms_of
from anyseek.model.seam import Embedder
from anyseek.search.actor import current_actor
from anyseek.search.catalogue import api_keys, audit
from anyseek.search.catalogue.api_keys import NO_QUOTA, Quota, Usage
from anyseek.search.catalogue.audit import EntryFilter

router = APIRouter(prefix="/v1")

Who = Annotated[str | None, Query(description="`key:NAME`, `user:NAME` or `anybody`", examples=["key:alice"])]
Action = Annotated[
    str | None, Query(description="an action, or its part before the dot", examples=["item", "key.create"])
]
Since = Annotated[AwareDatetime | None, Query(description="this moment or later", examples=["2026-01-31T00:00:00Z"])]
Until = Annotated[AwareDatetime | None, Query(description="before this moment")]


class ModelAnswer(Answer):
    """A model, with what it takes and the spaces of its vectors."""

    name: str = Field(examples=["4m-tiny"])
    fingerprint: str = Field(examples=[FINGERPRINT])
    modalities: list[str] = Field(examples=[["caption", "rgb"]])
    forms: dict[str, dict[str, str]] = Field(
        description="what a part's `form` may be, by modality, and what it means; first the form that items have",
        examples=[{"depth": {"far-bright": "larger is farther", "near-bright": "larger is nearer"}}],
    )
    spaces: list[SpaceAnswer]

    @classmethod
    def of(cls, embedder: Embedder) -> "ModelAnswer":
        return cls(
            name=embedder.name,
            fingerprint=embedder.fingerprint,
            modalities=sorted(embedder.modalities),
            forms={name: dict(forms) for name in sorted(embedder.modalities) if (forms := forms_of(name))},
            spaces=[SpaceAnswer.read(space) for space in embedder.spaces.values()],
        )


class ModelsAnswer(BaseModel):
    models: list[ModelAnswer]


@router.get("/models", tags=["models"], dependencies=[requires(Scope.READ)])
def list_models(service: ServiceDependency) -> ModelsAnswer:
    """Get the service's model: its fingerprint, its spaces, and the modalities it takes."""
    return ModelsAnswer(models=[ModelAnswer.of(service.embedder)])


class QuotaAnswer(Answer):
    """The storage used by an API key, and its limit."""

    key: str | None = Field(description="the name of the API key; null while none is needed", examples=["alice"])
    items: int = Field(description="how many items count for the key")
    bytes: int = Field(description="of the files that Anyseek stores of these items")
    most_items: int | None = Field(description="the maximum that it may store; null for no limit")
    most_bytes: int | None = Field(description="the maximum of bytes; null for no limit")

    @classmethod
    def of(cls, key: str | None, used: Usage, quota: Quota) -> "QuotaAnswer":
        return cls(key=key, items=used.items, bytes=used.bytes, most_items=quota.items, most_bytes=quota.bytes)


@router.get("/quota", tags=["quotas"], dependencies=[requires(Scope.READ)])
def get_quota(service: ServiceDependency) -> QuotaAnswer:
    """Get the items and bytes that count for the key of this request, and their limits."""
    key = current_actor().key
    if key is None:
        return QuotaAnswer.of(None, Usage(0, 0), NO_QUOTA)
    with service.runtime.database.read() as session:
        return QuotaAnswer.of(key, api_keys.usage(session, key), api_keys.quota_of(session, key))


class EntryAnswer(Answer):
    id: int
    at: datetime
    who: str = Field(description="`key:NAME` of an API key, `user:NAME` of a command, `anybody` while no key existed")
    address: str | None = Field(description="where the request came from; null for commands", examples=["10.0.0.7"])
    request_id: str | None = Field(description="also in the service's log")
    action: str = Field(examples=["item.put"])
    collection: str | None = Field(examples=["photos"])
    target: str | None = Field(description="a key, a job, a source or an API key's name", examples=["holiday/1.jpg"])


class AuditAnswer(BaseModel):
    entries: list[EntryAnswer]
    next: Next[int]


@router.get("/audit", tags=["audit"], dependencies=[requires(Scope.ADMIN)])
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
        page = audit.list_page(session, EntryFilter(who, action, collection, since, until), before, limit)
    return AuditAnswer(
        entries=[EntryAnswer.read(entry) for entry in page], next=next_cursor(page, limit, lambda entry: entry.id)
    )
