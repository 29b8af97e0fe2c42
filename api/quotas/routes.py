"""What the sender's API key stores, and how much it may store."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from anyseek.api.dependencies import ServiceDependency, requires
from anyseek.api.http.security import Scope
from anyseek.search.actor import caller
from anyseek.search.catalogue import api_keys
from anyseek.search.catalogue.api_keys import NO_QUOTA, Quota, Usage

router = APIRouter(prefix="/v1/quota", tags=["quotas"], dependencies=[requires(Scope.READ)])


class QuotaAnswer(BaseModel):
    key: str | None = Field(description="the name of the API key; null while none is needed", examples=["alice"])
    items: int = Field(description="how many items count for the key")
    bytes: int = Field(description="of the files that Anyseek stores of these items")
    most_items: int | None = Field(description="the most that it may store; null: any number")
    most_bytes: int | None = Field(description="the same of bytes")

    @classmethod
    def of(cls, key: str | None, used: Usage, quota: Quota) -> "QuotaAnswer":
        return cls(key=key, items=used.items, bytes=used.bytes, most_items=quota.items, most_bytes=quota.bytes)


@router.get("")
def get_quota(service: ServiceDependency) -> QuotaAnswer:
    """How many items and bytes count for the key of this request, and the most of each."""
    key = caller().key
    if key is None:
        return QuotaAnswer.of(None, Usage(0, 0), NO_QUOTA)
    with service.runtime.database.read() as session:
        return QuotaAnswer.of(key, api_keys.usage(session, key), api_keys.quota_of(session, key))
