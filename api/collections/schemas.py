"""The JSON of collections, with examples for the OpenAPI description."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Body, SpaceAnswer
from search.types import Collection


class CollectionBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"name": "photos"}})
    name: str


class ReembedBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"model": "4M-21_B"}})
    model: str = Field(description="an installed model; `anyseek models list` names them")


class SwitchAnswer(BaseModel):
    left_out: int = Field(description="items that have no vectors now")


class CollectionAnswer(BaseModel):
    name: str = Field(examples=["photos"])
    model: str = Field(examples=["4m-tiny"])
    items: int = Field(description="the number of items")
    spaces: list[SpaceAnswer]
    beside: Mapping[str, str] = Field(
        description="models whose vectors do not serve: being built, kept since the last switch, or returning",
        examples=[{"kept": "hashing"}],
    )
    created_at: datetime

    @classmethod
    def of(cls, collection: Collection, items: int) -> "CollectionAnswer":
        return cls(
            name=collection.name,
            model=collection.model,
            items=items,
            spaces=[SpaceAnswer.of(space) for space in collection.spaces.values()],
            beside=collection.beside,
            created_at=collection.created_at,
        )


class CollectionsAnswer(BaseModel):
    collections: list[CollectionAnswer]
