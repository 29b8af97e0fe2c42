"""The JSON of items, with examples for the OpenAPI description."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from api.pagination import Next
from search.types import Asset, Item


class AssetAnswer(BaseModel):
    name: str = Field(examples=["thumbnail"])
    media_type: str = Field(examples=["image/jpeg"])
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, asset: Asset) -> "AssetAnswer":
        return cls(name=asset.name, media_type=asset.media_type, size_bytes=asset.size_bytes, sha256=asset.sha256)


class ItemAnswer(BaseModel):
    key: str = Field(examples=["holiday/0042.jpg"])
    caption: str | None
    attributes: Mapping[str, Any]
    revision: int = Field(description="1 at first, and one more with each change")
    assets: list[AssetAnswer]
    path: str | None = Field(
        description="where its picture lies on the service's machine; null if it is stored, and for keys without the"
        " scope admin"
    )

    @classmethod
    def of(cls, item: Item, with_path: bool) -> "ItemAnswer":
        return cls(
            key=item.key,
            caption=item.caption,
            attributes=item.attributes,
            revision=item.revision,
            assets=[AssetAnswer.of(asset) for _, asset in sorted(item.assets.items())],
            path=item.path if with_path else None,
        )


class ItemsAnswer(BaseModel):
    items: list[ItemAnswer]
    next: Next[str]
