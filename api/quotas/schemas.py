"""The JSON of what a key stores and may store."""

from pydantic import BaseModel, Field

from anyseek.search.catalogue.quotas import Quota, Usage


class QuotaAnswer(BaseModel):
    key: str | None = Field(description="the name of the API key; null while none is needed", examples=["alice"])
    items: int = Field(description="how many items count for the key")
    bytes: int = Field(description="of the files that Anyseek stores of these items")
    most_items: int | None = Field(description="the most that it may store; null: any number")
    most_bytes: int | None = Field(description="the same of bytes")

    @classmethod
    def of(cls, key: str | None, used: Usage, quota: Quota) -> "QuotaAnswer":
        return cls(key=key, items=used.items, bytes=used.bytes, most_items=quota.items, most_bytes=quota.bytes)
