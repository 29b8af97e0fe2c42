"""The JSON of collections, with examples for the OpenAPI description."""

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field

from api.pagination import Next
from api.schemas import Body, SpaceAnswer
from search.catalogue.facet_counts import FieldCounts
from search.catalogue.folders import Folder
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


class FolderAnswer(BaseModel):
    path: str = Field(examples=["2024/05/"], description="with a slash at its end; what its keys begin with")
    items: int = Field(description="how many items are in it and in all folders below")
    cover: str = Field(examples=["2024/05/0001.jpg"], description="the key of the first of them")

    @classmethod
    def of(cls, folder: Folder) -> "FolderAnswer":
        return cls(path=folder.path, items=folder.items, cover=folder.cover)


class FoldersAnswer(BaseModel):
    folders: list[FolderAnswer]
    next: Next[str]


class ValueAnswer(BaseModel):
    value: str | bool = Field(examples=["Rome"])
    items: int = Field(description="how many items have this value")


class FieldAnswer(BaseModel):
    """An attribute. `least` and `most` are given for numbers, `first` and `last` for times."""

    field: str = Field(description="its path, as filters call it", examples=["place.city"])
    items: int = Field(description="how many items have this attribute")
    distinct: int = Field(description="how many different texts it has")
    values: list[ValueAnswer] = Field(description="its most frequent texts and truth values")
    least: float | None = None
    most: float | None = None
    first: datetime | None = None
    last: datetime | None = None

    @classmethod
    def of(cls, counted: FieldCounts) -> "FieldAnswer":
        least, most = counted.numbers or (None, None)
        first, last = [datetime.fromtimestamp(moment, UTC) for moment in counted.moments or ()] or (None, None)
        return cls(
            field=counted.field,
            items=counted.items,
            distinct=counted.distinct,
            values=[ValueAnswer(value=each.value, items=each.items) for each in counted.values],
            least=least,
            most=most,
            first=first,
            last=last,
        )


class FacetsAnswer(BaseModel):
    fields: list[FieldAnswer]
