"""Items: put, get, delete, list, and their files.

A key may be any text, so it always stands last in a path, percent-encoded as one segment.
"""

from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from api.contents import Upload, classes_from_json, json_of_field
from api.dependencies import IN_TURN, MaySeePaths, ServiceDependency, read_form, requires
from api.forms import divided
from api.items.schemas import ItemAnswer, ItemsAnswer
from api.pagination import Limit, following
from api.security import Scope
from api.service import Service
from indexer.put import put_item
from indexer.samples import CAPTION, THUMBNAIL, RawFile
from model.modalities.reading.decode import known_modality
from model.modalities.reading.documents import parse_text
from search.catalogue import audit, collections, items, listing, sources
from search.catalogue.folders import named
from search.catalogue.listing import Order, Place
from search.errors import AssetNotFound, BadInput, ItemNotFound
from search.filters.from_text import filter_from_text
from search.filters.tree import checked
from search.settings import Limits
from search.types import Item

router = APIRouter(prefix="/v1/collections/{collection}", tags=["items"])

Sort = Annotated[Order, Query(description="newest and oldest go by the attribute `taken`; items without it come last")]
Where = Annotated[str | None, Query(description="a filter as queries take it", examples=["width >= 1000"])]
Folder = Annotated[
    str | None, Query(description="a path before a slash of the keys; empty for keys without one", examples=["2024/05"])
]

_BLOCK = 256 * 1024
_SETTINGS = ("attributes", "classes", CAPTION)
_SAFE_TO_SHOW = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif")
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "description": "A file for each modality, named by it.",
                    "properties": {
                        "rgb": {"type": "string", "format": "binary"},
                        "depth": {"type": "string", "format": "binary"},
                        "semseg": {"type": "string", "format": "binary"},
                        "caption": {"type": "string", "example": "a red bicycle"},
                        "attributes": {"type": "string", "example": '{"year": 1987}'},
                        "classes": {"type": "string", "example": '{"0": "sky"}'},
                    },
                }
            }
        },
    }
}


@router.get("/items", dependencies=[requires(Scope.READ)])
def list_items(
    collection: str,
    service: ServiceDependency,
    paths: MaySeePaths,
    after: str | None = None,
    limit: Limit = 100,
    sort: Sort = Order.KEY,
    where: Where = None,
    folder: Folder = None,
) -> ItemsAnswer:
    """List items by key or by date, a page at a time; only those that pass `where` and are directly in `folder`."""
    wanted = checked(filter_from_text(where)) if where is not None else None
    begin = None if after is None else Place.parse(after, sort)
    with service.runtime.database.read() as session:
        held = collections.get(session, collection)
        found = listing.page(session, held, sort, begin, limit, wanted, None if folder is None else named(folder))
    cursor = following(found, limit, lambda placed: placed[1].cursor(sort))
    return ItemsAnswer(items=[ItemAnswer.of(item, paths) for item, _ in found], next=cursor)


@router.put("/items/{key:key}", openapi_extra=_FORM, dependencies=[requires(Scope.WRITE)])
async def put(collection: str, key: str, request: Request, service: ServiceDependency) -> ItemAnswer:
    """Put an item, replacing any item with this key. When this returns, queries find it."""
    service.check_ready()
    uploads = await read_form(request)
    return await service.writes.run(_put, service, collection, key, uploads)


@router.get("/items/{key:key}", dependencies=[requires(Scope.READ)])
def get_item(collection: str, key: str, service: ServiceDependency, paths: MaySeePaths) -> ItemAnswer:
    """Get one item: its caption, attributes, and the names of its files."""
    return ItemAnswer.of(_item(service, collection, key), paths)


@router.delete("/items/{key:key}", status_code=204, dependencies=[requires(Scope.WRITE), IN_TURN])
def delete_item(collection: str, key: str, service: ServiceDependency) -> Response:
    """Delete an item. Files that were indexed in place stay where they are."""
    with service.runtime.database.write() as session:
        found = collections.get(session, collection)
        if not items.delete(session, found, [key]):
            raise ItemNotFound(f"the collection {collection!r} has no item {key!r}")
        audit.record(session, "item.delete", collection, key)
    return Response(status_code=204)


@router.get("/thumbnails/{key:key}", dependencies=[requires(Scope.READ)], response_class=FileResponse)
def get_thumbnail(collection: str, key: str, request: Request, service: ServiceDependency) -> Response:
    """Get a small picture of an item."""
    return _file(service, _item(service, collection, key), THUMBNAIL, request)


@router.get("/assets/{name}/{key:key}", dependencies=[requires(Scope.READ)], response_class=FileResponse)
def get_asset(collection: str, name: str, key: str, request: Request, service: ServiceDependency) -> Response:
    """Get a file of an item as it was put; `name` is its modality or `thumbnail`."""
    return _file(service, _item(service, collection, key), name, request)


def _put(service: Service, collection: str, key: str, uploads: list[Upload]) -> ItemAnswer:
    settings, contents = divided(uploads, _SETTINGS)
    if len({upload.field for upload in contents}) < len(contents):
        raise BadInput("the form has two fields of the same name; send one file for each modality")
    limits = service.limits
    classes = classes_from_json(settings["classes"], limits) if "classes" in settings else {}
    item = put_item(
        service.runtime.tools_for(collection),
        collection,
        key,
        [_raw_file(upload, classes) for upload in contents],
        parse_text(settings[CAPTION], limits, "the caption") if CAPTION in settings else None,
        _attributes(settings["attributes"], limits) if "attributes" in settings else {},
    )
    return ItemAnswer.of(item, with_path=False)  # what is put is stored


def _raw_file(upload: Upload, classes: dict[int, str]) -> RawFile:
    modality = known_modality(upload.field).name
    data = upload.content.encode() if isinstance(upload.content, str) else upload.content
    return RawFile(modality, data, upload.filename or upload.field, classes if modality == "semseg" else {})


def _attributes(text: str, limits: Limits) -> dict[str, Any]:
    attributes = json_of_field(text, "attributes", limits)
    if not isinstance(attributes, dict):
        raise BadInput('the field attributes must be a JSON object, such as {"year": 1987}')
    return attributes


def _item(service: Service, collection: str, key: str) -> Item:
    with service.runtime.database.read() as session:
        return items.get(session, collections.get(session, collection), key)


def _file(service: Service, item: Item, name: str, request: Request) -> Response:
    """The file, or 304 if the caller has it. Files that a browser might run are sent as downloads."""
    asset = item.assets.get(name)
    if asset is None:
        raise AssetNotFound(f"the item {item.key!r} has no file {name!r}; it has {', '.join(sorted(item.assets))}")
    headers = {"etag": f'"{asset.sha256}"', "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    with service.runtime.database.read() as session:
        root = None if asset.stored else sources.folder_of(session, item.source_id)
    handle = service.runtime.assets.open(asset, root)
    shown = asset.media_type in _SAFE_TO_SHOW
    headers["content-disposition"] = "inline" if shown else "attachment"
    headers["content-length"] = str(asset.size_bytes)
    media_type = asset.media_type if shown else "application/octet-stream"
    return StreamingResponse(_blocks(handle, asset.size_bytes), headers=headers, media_type=media_type)


def _blocks(handle: BinaryIO, left: int) -> Iterator[bytes]:
    """The first `left` bytes of an open file, which is closed at the end, or when the caller leaves."""
    with handle:
        while left and (block := handle.read(min(_BLOCK, left))):
            left -= len(block)
            yield block
