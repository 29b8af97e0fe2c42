"""The JSON of items, with examples for the OpenAPI description."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from anyseek.api.errors import describe
from anyseek.api.http.did_you_mean import explained
from anyseek.api.pagination import Next
from anyseek.api.schemas import Body
from anyseek.model.json_reader import check_unicode
from anyseek.search.errors import BadInput
from anyseek.search.settings import Limits
from anyseek.search.types import Asset, Item

if TYPE_CHECKING:
    from anyseek.indexer.put import Patch


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
    etag: str = Field(
        description="the state of the item; sent in quotes as `If-Match`, a change is refused (412) if others have"
        " changed the item meanwhile",
        examples=["7-2"],
    )
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
            etag=item.version,
            assets=[AssetAnswer.of(asset) for _, asset in sorted(item.assets.items())],
            path=item.path if with_path else None,
        )


class ItemsAnswer(BaseModel):
    items: list[ItemAnswer]
    next: Next[str]


class PatchBody(Body):
    """What to change of an item. Members that are left out stay as they are."""

    attributes: dict[str, Any] | None = Field(
        default=None,
        description="a merge patch (RFC 7396): null removes a member, an object is merged, all else replaces; null in"
        " its place removes all attributes",
        examples=[{"rating": 5, "place": {"town": "Rome"}, "draft": None}],
    )
    caption: str | None = Field(default=None, description="null removes it")


_PATCH = TypeAdapter(PatchBody)


def read_patch(given: Mapping[str, Any]) -> PatchBody:
    """A body given as members. Raises `BadInput`."""
    check_unicode(given, "the body")
    try:
        return _PATCH.validate_python(given)
    except ValidationError as error:
        raise BadInput(describe(explained(error.errors(include_url=False, include_input=False), _PATCH))) from error


def patch_of(body: PatchBody, limits: Limits) -> "Patch":
    """The change that a body asks for. Raises `BadInput` if it asks for none, and for what is no caption."""
    from anyseek.indexer.put import Patch  # imported here, so that a listing of items starts at once
    from anyseek.model.modalities.reading.documents import parse_text

    if not body.model_fields_set:
        raise BadInput('the body asks for no change; send {"attributes": {…}}, {"caption": "…"} or both')
    caption = None if body.caption is None else parse_text(body.caption, limits, "the caption")
    attributes = body.attributes if "attributes" in body.model_fields_set else {}
    return Patch(attributes, caption, "caption" in body.model_fields_set)
