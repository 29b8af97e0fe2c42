"""The JSON of collections, with examples for the OpenAPI description."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from anyseek.api.pagination import Next
from anyseek.api.schemas import Body, SpaceAnswer
from anyseek.search.catalogue.listing import Folder
from anyseek.search.types import Collection, FieldCounts, Item, Space

if TYPE_CHECKING:  # a listing of collections starts sooner without them
    from anyseek.search.duplicates import Copy, Duplicates, Group


class CollectionBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"name": "photos"}})
    name: str


class ReembedBody(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"model": "4M-21_B"}})
    model: str = Field(description="an installed model; `anyseek models list` names them")


class SwitchAnswer(BaseModel):
    left_out: int = Field(description="items that have no vectors now")


class TuningAnswer(BaseModel):
    modality: str = Field(description="the kind of query", examples=["canny_edge"])
    queries: int = Field(description="how many queries it was fitted to")
    before: float = Field(description="the share found among the first ten with the model's own mean")
    after: float = Field(description="the same with the fitted one, on queries held out")
    made_at: datetime


class CollectionSpaceAnswer(SpaceAnswer):
    tuned: list[TuningAnswer] = Field(
        description="the means of queries that were fitted on the collection itself; see docs/living.md"
    )

    @classmethod
    def of_space(cls, space: Space) -> "CollectionSpaceAnswer":
        tuned = [
            TuningAnswer(
                modality=tuning.modality,
                queries=tuning.queries,
                before=tuning.before,
                after=tuning.after,
                made_at=tuning.made_at,
            )
            for tuning in space.tunings
        ]
        return cls(name=space.name, dimension=space.dimension, fingerprint=space.fingerprint, tuned=tuned)


class CollectionAnswer(BaseModel):
    name: str = Field(examples=["photos"])
    model: str = Field(examples=["4m-tiny"])
    items: int = Field(description="the number of items")
    spaces: list[CollectionSpaceAnswer]
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
            spaces=[CollectionSpaceAnswer.of_space(space) for space in collection.spaces.values()],
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


class PictureAnswer(BaseModel):
    key: str = Field(examples=["holiday/0042.jpg"])
    path: str | None = Field(description="where it lies on the service's machine; null as in items")
    size_bytes: int = Field(description="the size of its file")

    @classmethod
    def of_item(cls, item: Item, with_path: bool) -> "PictureAnswer":
        picture = item.assets.get("rgb")
        return cls(key=item.key, path=item.path if with_path else None, size_bytes=picture.size_bytes if picture else 0)


class CopyAnswer(PictureAnswer):
    cosine: float = Field(description="of its vector and that of the group's best")
    likeness: float = Field(description="of the two pictures themselves: at most 1")
    same_file: bool = Field(description="whether the two files are equal, byte by byte")

    @classmethod
    def of(cls, copy: "Copy", with_path: bool) -> "CopyAnswer":
        picture = PictureAnswer.of_item(copy.item, with_path)
        return cls(**vars(picture), cosine=copy.cosine, likeness=copy.likeness, same_file=copy.same_file)


class GroupAnswer(BaseModel):
    best: PictureAnswer = Field(description="that of the most pixels, then of the largest file, then the earliest")
    copies: list[CopyAnswer] = Field(description="the others, most alike first")

    @classmethod
    def of(cls, group: "Group", with_path: bool) -> "GroupAnswer":
        best = PictureAnswer.of_item(group.best, with_path)
        return cls(best=best, copies=[CopyAnswer.of(copy, with_path) for copy in group.copies])


class DuplicatesAnswer(BaseModel):
    groups: list[GroupAnswer] = Field(description="largest first")
    total: int = Field(description="how many groups there are")
    copies: int = Field(description="how many pictures are in a group and are not its best")
    pictures: int = Field(description="how many were compared")
    left_out: int = Field(description="how many of them by their files alone: vector or thumbnail is lost")
    space: str = Field(description="whose vectors were compared")

    @classmethod
    def of(cls, found: "Duplicates", limit: int, with_paths: bool) -> "DuplicatesAnswer":
        return cls(
            groups=[GroupAnswer.of(group, with_paths) for group in found.groups[:limit]],
            total=len(found.groups),
            copies=sum(len(group.copies) for group in found.groups),
            pictures=found.pictures,
            left_out=found.left_out,
            space=found.space,
        )
