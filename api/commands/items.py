"""`anyseek items`: list, show, change and delete items, by the running service or in the data directory."""

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from anyseek.api.client.connect import connect, reading
from anyseek.api.commands.hits import only_collection
from anyseek.api.commands.printing import json_line, printable
from anyseek.model.json_reader import refuse_constant

if TYPE_CHECKING:
    from anyseek.api.client.answers import Item

_COLLECTION = click.option("--collection", help="The collection; not needed if there is only one.")
_ETAG = click.option("--etag", help="Only if nobody has changed the item since `show` gave this `etag`.")


@click.group()
def items() -> None:
    """List, show, change and delete items."""


@items.command("list")
@_COLLECTION
@click.option("--where", metavar="FILTER", help="Only items whose attributes pass: 'width >= 1000'.")
@click.option("--limit", type=click.IntRange(1), help="The most items to list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_items(collection: str | None, where: str | None, limit: int | None, as_json: bool) -> None:
    """List items by key, all of them or those that pass a filter."""
    with reading() as client:
        found = client.items(collection or only_collection(client), min(limit or 500, 500), where)
        for item in islice(found, limit):
            click.echo(json_line(item) if as_json else _line(item))


@items.command()
@click.argument("key")
@_COLLECTION
def show(key: str, collection: str | None) -> None:
    """Show one item as JSON: its caption, attributes, files and `etag`."""
    with reading() as client:
        click.echo(json_line(client.get_item(collection or only_collection(client), key)))


@items.command()
@click.argument("key")
@_COLLECTION
@click.option("--attributes", metavar="JSON", help='A merge patch: \'{"rating": 5, "draft": null}\'.')
@click.option("--caption", help="Another caption; the item's files are embedded again with it.")
@click.option("--no-caption", is_flag=True, help="Remove the caption.")
@_ETAG
def patch(
    key: str, collection: str | None, attributes: str | None, caption: str | None, no_caption: bool, etag: str | None
) -> None:
    """Change attributes of an item, its caption, or both, and show it as JSON. Its files are not sent again.

    In --attributes, null removes an attribute, an object is merged, and everything else replaces what was there.
    """
    if caption is not None and no_caption:
        raise click.UsageError("give --caption or --no-caption")
    changes: dict[str, Any] = {} if attributes is None else {"attributes": _object(attributes)}
    if caption is not None or no_caption:
        changes["caption"] = caption
    if not changes:
        raise click.UsageError("give what to change: --attributes, --caption or --no-caption")
    with connect() as client:
        click.echo(json_line(client.patch_item(collection or only_collection(client), key, changes, etag)))


@items.command()
@click.argument("key")
@_COLLECTION
@_ETAG
def delete(key: str, collection: str | None, etag: str | None) -> None:
    """Delete one item. Files that were indexed in place stay where they are."""
    with connect() as client:
        client.delete_item(collection or only_collection(client), key, etag)
    click.echo(f"the item {printable(key)} is deleted")


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--attributes is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.UsageError('--attributes is not a JSON object, such as {"rating": 5}')
    return found


def _line(item: "Item") -> str:
    return "  ".join(printable(text) for text in (item.key, item.caption) if text)
