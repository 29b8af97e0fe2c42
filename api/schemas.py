"""JSON schemas shared by resources and clients, with examples for the OpenAPI description.

Commands that list items without a service use them too, so this module imports nothing heavy.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from anyseek.search.errors import BadInput
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import Filter, checked
from anyseek.search.settings import Limits
from anyseek.search.types import Collection, FieldCounts, Item

if TYPE_CHECKING:  # imported lazily, so that commands start fast
    from anyseek.indexer.put import Patch
    from anyseek.search.duplicates import Copy, Duplicates

T = TypeVar("T")
Cursor = TypeVar("Cursor", int, str)

FINGERPRINT = "9f2c6b0e…"

# The id of a row: databases use 64 bits.
Number = Annotated[int, Field(ge=-(1 << 63), le=(1 << 63) - 1)]
# The page size that a caller may send, and the cursor of every page.
Limit = Annotated[int, Field(ge=1, le=1000, description="how many at most")]
Next = Annotated[
    Cursor | None,
    Field(description="send it as `after`, of jobs as `before`, for the page that follows; null at the end"),
]


def parse_filter(where: str | None) -> Filter | None:
    """The filter of a listing or a count; None without one. Raises `BadFilter`."""
    return None if where is None else checked(filter_from_text(where))


def next_cursor(page: Sequence[T], limit: int, cursor: Callable[[T], Cursor]) -> Cursor | None:
    """The cursor of the next page; None if `page` is shorter than `limit` and therefore the last."""
    return cursor(page[-1]) if len(page) == limit else None


class Body(BaseModel):
    """Base of request bodies; unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """Base of the service's answers, read from the attributes of a domain object, and by clients from JSON.

    Members are attributes (`job.state`), and can be read by name (`job["state"]`).
    """

    model_config = ConfigDict(from_attributes=True, validate_by_name=True, validate_by_alias=True)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    @classmethod
    def read(cls, source: Any) -> Self:
        return cls.model_validate(source)


class ProblemAnswer(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="stable; programs should check this", examples=["urn:anyseek:item-not-found"])
    title: str
    status: int
    detail: str = Field(description="one sentence for a person")
    request_id: str = Field(description="also in the service's log and the X-Request-ID header")
    errors: list[dict[str, str]] = Field(default_factory=list, description="each invalid place of the request")


class SpaceAnswer(Answer):
    name: str = Field(examples=["visual_global"])
    dimension: int = Field(examples=[1280])
    fingerprint: str = Field(examples=[FINGERPRINT])


class TuningAnswer(Answer):
    modality: str = Field(description="the kind of query", examples=["canny_edge"])
    queries: int = Field(description="how many queries it was fitted to")
    before: float = Field(description="recall at 10 with the model's own mean")
    after: float = Field(description="the same share with the fitted mean, on held-out queries")
    made_at: datetime


class CollectionSpaceAnswer(SpaceAnswer):
    tuned: list[TuningAnswer] = Field(
        validation_alias="tunings",
        description="the means of queries that were fitted on the collection itself; see docs/living.md",
    )


class CollectionAnswer(Answer):
    """A collection with its model, spaces and number of items."""

    name: str = Field(examples=["photos"])
    model: str = Field(examples=["4m-tiny"])
    items: int = Field(description="the number of items")
    spaces: list[CollectionSpaceAnswer]
    beside: Mapping[str, str] = Field(
        description="models whose vectors are not in use: being built, kept since the last switch, or being restored",
        examples=[{"kept": "hashing"}],
    )
    created_at: datetime

    @classmethod
    def of(cls, collection: Collection, items: int) -> "CollectionAnswer":
        return cls.read({**vars(collection), "items": items, "spaces": list(collection.spaces.values())})


class ValueAnswer(Answer):
    value: str | bool = Field(examples=["Rome"])
    items: int = Field(description="how many items have this value")


class FieldAnswer(Answer):
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
    def of(cls, counts: FieldCounts) -> "FieldAnswer":
        least, most = counts.numbers or (None, None)
        first, last = [datetime.fromtimestamp(moment, UTC) for moment in counts.moments or ()] or (None, None)
        return cls.read({**vars(counts), "least": least, "most": most, "first": first, "last": last})


class PictureAnswer(Answer):
    key: str = Field(examples=["holiday/0042.jpg"])
    path: str | None = Field(description="its path on the service's machine; null as in items")
    size_bytes: int = Field(description="the size of its file")

    @classmethod
    def of_item(cls, item: Item, with_path: bool) -> "PictureAnswer":
        picture = item.assets.get("rgb")
        return cls(key=item.key, path=item.path if with_path else None, size_bytes=picture.size_bytes if picture else 0)


class CopyAnswer(PictureAnswer):
    cosine: float = Field(description="similarity of its vector to the vector of the group's best picture")
    likeness: float = Field(description="similarity of the pixels to the group's best picture: at most 1")
    same_file: bool = Field(description="whether the two files are equal, byte by byte")

    @classmethod
    def of(cls, copy: "Copy", with_path: bool) -> "CopyAnswer":
        picture = PictureAnswer.of_item(copy.item, with_path)
        return cls(**vars(picture), cosine=copy.cosine, likeness=copy.likeness, same_file=copy.same_file)


class GroupAnswer(Answer):
    best: PictureAnswer = Field(description="the one with the most pixels, then the largest file, then the earliest")
    copies: list[CopyAnswer] = Field(description="the others, most alike first")


class DuplicatesAnswer(Answer):
    """Groups of near-duplicate pictures."""

    groups: list[GroupAnswer] = Field(description="largest first")
    total: int = Field(description="how many groups there are")
    copies: int = Field(description="how many pictures are in a group without its best")
    pictures: int = Field(description="how many were compared")
    left_out: int = Field(description="how many were compared by file only: the vector or thumbnail is lost")
    space: str = Field(description="the space whose vectors were compared")

    @classmethod
    def of(cls, duplicates: "Duplicates", limit: int, with_paths: bool) -> "DuplicatesAnswer":
        groups = [
            GroupAnswer(
                best=PictureAnswer.of_item(group.best, with_paths),
                copies=[CopyAnswer.of(copy, with_paths) for copy in group.copies],
            )
            for group in duplicates.groups[:limit]
        ]
        return cls(
            groups=groups,
            total=len(duplicates.groups),
            copies=sum(len(group.copies) for group in duplicates.groups),
            pictures=duplicates.pictures,
            left_out=duplicates.left_out,
            space=duplicates.space,
        )


class AssetAnswer(Answer):
    name: str = Field(examples=["thumbnail"])
    media_type: str = Field(examples=["image/jpeg"])
    size_bytes: int
    sha256: str


class ItemAnswer(Answer):
    """An item: its caption, attributes and files."""

    key: str = Field(examples=["holiday/0042.jpg"])
    caption: str | None
    attributes: Mapping[str, Any]
    revision: int = Field(description="1 at first, and one more with each change")
    etag: str = Field(
        description="the state of the item; sent in quotes as `If-Match`, a change is refused (412) if others have"
        " changed the item meanwhile",
        examples=["7-2"],
    )
    assets: list[AssetAnswer]
    path: str | None = Field(
        description="the path of its picture on the service's machine; null if Anyseek stores it, and for keys without"
        " the scope admin"
    )

    @classmethod
    def of(cls, item: Item, with_path: bool) -> "ItemAnswer":
        return cls(
            key=item.key,
            caption=item.caption,
            attributes=item.attributes,
            revision=item.revision,
            etag=item.version,
            assets=[AssetAnswer.read(asset) for _, asset in sorted(item.assets.items())],
            path=item.path if with_path else None,
        )


class PatchBody(Body):
    """A change of an item. Members that are left out stay as they are."""

    attributes: dict[str, Any] | None = Field(
        default=None,
        description="a merge patch (RFC 7396): null removes a member, an object is merged, everything else replaces;"
        " null in place of the object removes all attributes",
        examples=[{"rating": 5, "place": {"town": "Rome"}, "draft": None}],
    )
    caption: str | None = Field(default=None, description="null removes it")


PATCH = TypeAdapter(PatchBody)


def patch_of(body: PatchBody, limits: Limits) -> "Patch":
    """The change of an item. Raises `BadInput` for an empty change and for an invalid caption."""
    from anyseek.indexer.put import Patch
    from anyseek.model.modalities.reading.documents import parse_text

    if not body.model_fields_set:
        raise BadInput('the body has no change; send {"attributes": {…}}, {"caption": "…"} or both')
    caption = None if body.caption is None else parse_text(body.caption, limits, "the caption")
    attributes = body.attributes if "attributes" in body.model_fields_set else {}
    return Patch(attributes, caption, "caption" in body.model_fields_set)
