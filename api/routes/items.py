"""Items: put, get, delete, list, and their files.

A key may be any text, so it is always the last segment of a path, percent-encoded.
"""

import re
from collections.abc import Iterator
from functools import partial
from io import BufferedIOBase
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel

from anyseek.api.contents import Upload, classes_from_json, parse_json_field
from anyseek.api.dependencies import WRITE_SLOT, MaySeePaths, ServiceDependency, Where, read_form, read_json, requires
from anyseek.api.errors import RangeUnsatisfiable
from anyseek.api.forms import parse_bool, split_fields
from anyseek.api.http.security import Scope
from anyseek.api.schemas import PATCH, ItemAnswer, Limit, Next, next_cursor, parse_filter, patch_of
from anyseek.api.service import Service
from anyseek.indexer import put as item_writes
from anyseek.indexer.samples import CAPTION, THUMBNAIL, RawFile
from anyseek.model.modalities.reading.decode import known_modality
from anyseek.model.modalities.reading.documents import parse_text
from anyseek.search.assets.pictures import asset_of, open_asset
from anyseek.search.catalogue import collections, items, listing
from anyseek.search.catalogue.items import Versions
from anyseek.search.catalogue.listing import Order, Position, folder_path
from anyseek.search.errors import BadInput
from anyseek.search.types import Item

router = APIRouter(prefix="/v1/collections/{collection}", tags=["items"])

Sort = Annotated[Order, Query(description="newest and oldest go by the attribute `taken`; items without it come last")]
Folder = Annotated[
    str | None, Query(description="a path before a slash of the keys; empty for keys without one", examples=["2024/05"])
]

IfMatch = Annotated[
    str | None,
    Header(description="change the item only if its `etag` is one of these", examples=['"7-2"']),
]

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BLOCK = 256 * 1024
_SETTINGS = ("attributes", "classes", "predict_attributes", CAPTION)
_INLINE_MEDIA_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif")
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
                        "predict_attributes": {"type": "string", "enum": ["true", "false"], "default": "false"},
                    },
                }
            }
        },
    }
}

_PATCH_KINDS = ("application/merge-patch+json", "application/json")
_PATCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"$ref": "#/components/schemas/PatchBody"}} for kind in _PATCH_KINDS},
    }
}


class ItemsAnswer(BaseModel):
    items: list[ItemAnswer]
    next: Next[str]


@router.get("/items", dependencies=[requires(Scope.READ)])
async def list_items(
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

    def work() -> ItemsAnswer:
        item_filter = parse_filter(where)
        start = None if after is None else Position.parse(after, sort)
        if item_filter is not None or sort is not Order.KEY:
            service.runtime.derived.facets.check()
        with service.runtime.database.read() as session:
            parent = collections.get(session, collection)
            page = listing.page(
                session, parent, sort, start, limit, item_filter, None if folder is None else folder_path(folder)
            )
        cursor = next_cursor(page, limit, lambda placed: placed[1].cursor(sort))
        return ItemsAnswer(items=[ItemAnswer.of(item, paths) for item, _ in page], next=cursor)

    return await service.read(where, work)


@router.put("/items/{key:key}", openapi_extra=_FORM, dependencies=[requires(Scope.WRITE)])
async def put_item(
    collection: str,
    key: str,
    request: Request,
    response: Response,
    service: ServiceDependency,
    if_match: IfMatch = None,
) -> ItemAnswer:
    """Put an item, replacing any item with this key. Queries find it as soon as this returns."""
    service.check_ready()
    uploads = await read_form(request)
    item = await service.writes.run(_put, service, collection, key, uploads, _versions(if_match))
    return _answer(item, response, with_path=False)  # what is put is stored


@router.patch("/items/{key:key}", openapi_extra=_PATCH_BODY, dependencies=[requires(Scope.WRITE)])
async def patch_item(
    collection: str,
    key: str,
    request: Request,
    response: Response,
    service: ServiceDependency,
    paths: MaySeePaths,
    if_match: IfMatch = None,
) -> ItemAnswer:
    """Change an item's attributes by a merge patch (RFC 7396), and its caption. Files stay, and so do vectors.

    A member of `attributes` that is null is removed, an object is merged, everything else replaces what was there. A
    new caption is embedded with the item's files, which therefore have to be there still.
    """
    body = await read_json(request, PATCH)
    patch = patch_of(body, service.limits)
    if patch.sets_caption:
        service.check_ready()
    runtime, versions = service.runtime, _versions(if_match)

    def work() -> Item:
        context_of_collection = partial(runtime.context_of_collection, collection)
        return item_writes.patch_item(runtime.database, context_of_collection, collection, key, patch, versions)

    return _answer(await service.writes.run(runtime.retry_on_switch, work), response, paths)


@router.get("/items/{key:key}", dependencies=[requires(Scope.READ)])
def get_item(
    collection: str, key: str, response: Response, service: ServiceDependency, paths: MaySeePaths
) -> ItemAnswer:
    """Get one item: its caption, attributes, and the names of its files."""
    return _answer(_item(service, collection, key), response, paths)


@router.delete("/items/{key:key}", status_code=204, dependencies=[requires(Scope.WRITE), WRITE_SLOT])
def delete_item(collection: str, key: str, service: ServiceDependency, if_match: IfMatch = None) -> Response:
    """Delete an item. Files that were indexed in place stay where they are."""
    with service.runtime.database.write() as session:
        item_writes.delete_item(session, collection, key, _versions(if_match))
    return Response(status_code=204)


@router.get("/thumbnails/{key:key}", dependencies=[requires(Scope.READ)], response_class=FileResponse)
def get_thumbnail(collection: str, key: str, request: Request, service: ServiceDependency) -> Response:
    """Get a small picture of an item."""
    return _file(service, _item(service, collection, key), THUMBNAIL, request)


@router.get("/assets/{name}/{key:key}", dependencies=[requires(Scope.READ)], response_class=FileResponse)
def get_asset(collection: str, name: str, key: str, request: Request, service: ServiceDependency) -> Response:
    """Get a stored file of an item; `name` is its modality or `thumbnail`."""
    return _file(service, _item(service, collection, key), name, request)


def _answer(item: Item, response: Response, with_path: bool) -> ItemAnswer:
    response.headers["etag"] = f'"{item.version}"'
    return ItemAnswer.of(item, with_path)


def _versions(if_match: str | None) -> Versions | None:
    """The versions in `If-Match`; a weak one, `W/"7-2"`, never matches."""
    if if_match is None:
        return None
    tags = (each.strip() for each in if_match.split(","))
    return frozenset(each[1:-1] if len(each) > 1 and each[0] == each[-1] == '"' else each for each in tags)


def _put(service: Service, collection: str, key: str, uploads: list[Upload], versions: Versions | None) -> Item:
    settings, contents = split_fields(uploads, _SETTINGS)
    if len({upload.field for upload in contents}) < len(contents):
        raise BadInput("the form has two fields of the same name; send one file per modality")
    limits = service.limits
    classes = classes_from_json(settings["classes"], limits) if "classes" in settings else {}
    attributes = parse_json_field(settings["attributes"], "attributes", limits) if "attributes" in settings else {}
    if not isinstance(attributes, dict):
        raise BadInput('the field attributes must be a JSON object, such as {"year": 1987}')
    files = []
    for upload in contents:
        modality = known_modality(upload.field).name
        data = upload.content.encode() if isinstance(upload.content, str) else upload.content
        names = classes if modality == "semseg" else {}
        files.append(RawFile(modality, data, upload.filename or upload.field, names))
    caption = parse_text(settings[CAPTION], limits, "the caption") if CAPTION in settings else None
    predicts = parse_bool("predict_attributes", settings.get("predict_attributes", "false"))
    runtime = service.runtime

    def work() -> Item:
        context = runtime.context_of_collection(collection)
        return item_writes.put_item(context, collection, key, files, caption, attributes, versions, predicts)

    return runtime.retry_on_switch(work)


def _item(service: Service, collection: str, key: str) -> Item:
    with service.runtime.database.read() as session:
        return items.get(session, collections.get(session, collection), key)


def _file(service: Service, item: Item, name: str, request: Request) -> Response:
    """The file, or 304 if the caller has it. Files that a browser might execute are sent as downloads."""
    asset = asset_of(item, name)
    headers = {"etag": f'"{asset.sha256}"', "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    part = _part(request, asset.size_bytes, headers["etag"])
    start, end = part or (0, asset.size_bytes)
    if part is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{asset.size_bytes}"
    handle = open_asset(service.runtime.database, service.runtime.assets, item, asset)
    is_inline = asset.media_type in _INLINE_MEDIA_TYPES
    headers["content-disposition"] = "inline" if is_inline else "attachment"
    headers |= {"content-length": str(end - start), "accept-ranges": "bytes"}
    media_type = asset.media_type if is_inline else "application/octet-stream"
    blocks, status = _read_blocks(handle, start, end - start), 206 if part else 200
    return StreamingResponse(blocks, status_code=status, headers=headers, media_type=media_type)


def _part(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """The first byte that a request wants, and the one after the last; None if it wants all, or several ranges.

    Raises `RangeUnsatisfiable`.
    """
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    if wanted is None or wanted[0] == "bytes=-" or request.headers.get("if-range", etag) != etag:
        return None
    first, last = wanted.groups()
    start = int(first) if first else max(0, size - int(last or 0))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise RangeUnsatisfiable(f"the file has {size:,} bytes, and {wanted[0]!r} has none of them")
    return start, end


def _read_blocks(handle: BufferedIOBase, start: int, remaining: int) -> Iterator[bytes]:
    """Yield `remaining` bytes of an open file, and close it at the end or when the client disconnects."""
    with handle:
        handle.seek(start)
        while remaining and (block := handle.read(min(_BLOCK, remaining))):
            remaining -= len(block)
            yield block
