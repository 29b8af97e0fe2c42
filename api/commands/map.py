"""`anyseek map`: the items of a collection on a plane, alike ones near each other, as a picture or a page."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from anyseek.api.client.connect import connect
from anyseek.api.client.http import Client
from anyseek.api.commands.hits import only_collection, picture_format, thumbnail_of, whole_output
from anyseek.api.errors import ApiError
from anyseek.search.errors import ItemNotFound, StoreCorrupt

if TYPE_CHECKING:
    from PIL import Image

    from anyseek.api.client.local import LocalClient

Thumbnail = Callable[[str], "Image.Image | None"]

_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command("map")
@click.argument("collection", required=False)
@click.option("--space", metavar="NAME", help="The space whose vectors are laid out; the model chooses by default.")
@click.option("--png", type=_FILE, metavar="FILE", help="Write the map as a picture: out.png, or out.jpg.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write the map as one page that needs nothing else: out.html.")
@click.option("--colour-by", metavar="ATTRIBUTE", help="Colour items by an attribute, such as label or camera.make.")
@click.option(
    "--limit",
    type=click.IntRange(1, 20_000),
    default=5_000,
    show_default=True,
    help="The most items to lay out; of more, a sample.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Equal seeds make equal maps."
)
@click.option("--json", "as_json", is_flag=True, help="Print where the items are as one JSON object on one line.")
def map_command(collection: str | None, png: Path | None, html: Path | None, as_json: bool, **options: Any) -> None:
    """Lay the items of COLLECTION out on a map, alike ones near each other.

    Give --png, --html or --json, or several of them. COLLECTION is not needed if there is only one.
    """
    if png is None and html is None and not as_json:
        raise click.UsageError("say what to make of the map: --png FILE, --html FILE or --json")
    kind = None if png is None else picture_format(png)
    with connect() as client:
        collection = collection or only_collection(client)
        found = client.map(collection, **options)
        if not found["places"] and not as_json:
            raise click.UsageError(_nothing(collection, found))
        thumbnail = partial(_thumbnail, client, collection)
        if png is not None and kind is not None:
            _write_picture(found, thumbnail, png, kind)
        if html is not None:
            _write_page(collection, found, thumbnail, html, client.url if isinstance(client, Client) else None)
    if found["left_out"]:
        click.echo(_left_out(collection, found), err=True)
    if as_json:
        click.echo(json.dumps(found))


def _write_picture(found: dict[str, Any], thumbnail: Thumbnail, file: Path, kind: str) -> None:
    from anyseek.api.maps.picture import draw

    sheet = draw(found, thumbnail)
    with whole_output(file) as temporary:
        sheet.picture.save(temporary, kind)
    without = f", {sheet.blank:,} without a thumbnail" if sheet.blank else ""
    width, height = sheet.picture.size
    click.echo(f"{file}: {sheet.shown:,} of {found['items']:,} items{without}, {width} x {height} pixels", err=True)


def _write_page(collection: str, found: dict[str, Any], thumbnail: Thumbnail, file: Path, service: str | None) -> None:
    from anyseek.api.maps.page import page_of

    page = page_of(collection, found, thumbnail, None if service is None else _without_password(service))
    with whole_output(file) as temporary:
        temporary.write_bytes(page)
    click.echo(f"{file}: {len(found['places']):,} of {found['items']:,} items, {len(page) / 1e6:.1f} MB", err=True)


def _without_password(address: str) -> str:
    """The address of a service without the name and password that it may have: pages are passed on."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _thumbnail(client: "Client | LocalClient", collection: str, key: str) -> "Image.Image | None":
    """The small picture of an item; None if it has none, or it is damaged, or the item was deleted meanwhile."""
    try:
        return thumbnail_of(client, collection, key)
    except (ItemNotFound, StoreCorrupt):
        return None
    except ApiError as error:
        if error.type in (f"urn:anyseek:{ItemNotFound.code}", f"urn:anyseek:{StoreCorrupt.code}"):
            return None
        raise


def _nothing(collection: str, found: dict[str, Any]) -> str:
    if found["items"] == 0:
        return f"the collection {collection!r} is empty, so there is no map of it; put items into it with anyseek index"
    return _left_out(collection, found)


def _left_out(collection: str, found: dict[str, Any]) -> str:
    return (
        f"{found['left_out']:,} of the {found['items']:,} items of {collection!r} are not on the map: they have no "
        f"sound vector in the space {found['space']!r}, or damaged rows; anyseek verify names what is damaged"
    )
