"""`anyseek items` and `anyseek duplicates`, by the running service or in the data directory."""

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anyseek.api.client.connect import connect, connect_reader
from anyseek.api.commands.hits import echo_paths, json_line, only_collection, write_sheet
from anyseek.api.commands.output import say
from anyseek.model.json_reader import refuse_constant

if TYPE_CHECKING:
    from anyseek.api.client.answers import Duplicates
    from anyseek.api.schemas import PictureAnswer

_COLLECTION = click.option("--collection", help="The collection; not needed if there is only one.")
_ETAG = click.option("--etag", help="Only if the item still has this `etag`, as `show` printed it.")
_SHEET = click.Path(dir_okay=False, writable=True, path_type=Path)
_MAX_ITEMS = 10_000
_MAX_ON_SHEET = 500


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
    with connect_reader() as client:
        matches = client.items(collection or only_collection(client), min(limit or 500, 500), where)
        for item in islice(matches, limit):
            say(json_line(item) if as_json else "  ".join(text for text in (item.key, item.caption) if text))


@items.command()
@click.argument("key")
@_COLLECTION
def show(key: str, collection: str | None) -> None:
    """Show one item as JSON: its caption, attributes, files and `etag`."""
    with connect_reader() as client:
        say(json_line(client.get_item(collection or only_collection(client), key)))


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
        say(json_line(client.patch_item(collection or only_collection(client), key, changes, etag)))


@items.command()
@click.argument("key")
@_COLLECTION
@_ETAG
def delete(key: str, collection: str | None, etag: str | None) -> None:
    """Delete one item. Files that were indexed in place stay where they are."""
    with connect() as client:
        client.delete_item(collection or only_collection(client), key, etag)
    say(f"the item {key} is deleted")


def _object(text: str) -> dict[str, Any]:
    try:
        members = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--attributes is not JSON: {error}") from error
    if not isinstance(members, dict):
        raise click.UsageError('--attributes is not a JSON object, such as {"rating": 5}')
    return members


@click.command()
@click.argument("collection", required=False)
@click.option(
    "--limit", type=click.IntRange(1, _MAX_ITEMS), default=1000, show_default=True, help="The most groups to list."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
@click.option("--paths", is_flag=True, help="Print only the paths of the copies, not of the best ones, one per line.")
@click.option("-0", "--null", is_flag=True, help="With --paths: end each path with NUL instead of a line end.")
@click.option("--contact-sheet", type=_SHEET, metavar="FILE", help="Also write the groups as a picture: out.png.")
def duplicates(collection: str | None, as_json: bool, **options: Any) -> None:
    """Find near-duplicate pictures of COLLECTION: resized, compressed again, brightened or slightly cropped copies.

    Each group lists its best picture first: the one with the most pixels, then the largest file, then the earliest. The
    others are copies of it. Nothing is changed or deleted. COLLECTION is not needed if there is only one.
    """
    if options["paths"] and as_json:
        raise click.UsageError("give --paths or --json; the JSON has the paths too")
    if options["null"] and not options["paths"]:
        raise click.UsageError("-0 is for --paths")
    with connect() as client:
        collection = collection or only_collection(client)
        report = client.duplicates(collection, options["limit"])
        if options["contact_sheet"]:
            pictures = [
                (number, collection, picture.key)
                for number, group in enumerate(report.groups, 1)
                for picture in (group.best, *group.copies)
            ]
            write_sheet(client, pictures[:_MAX_ON_SHEET], "pictures", options["contact_sheet"])
    if options["paths"]:
        copies = [copy.path for group in report.groups for copy in group.copies]
        echo_paths(copies, "copies", options["null"])
    else:
        say(*([json_line(report)] if as_json else _duplicates_lines(report)))


def _duplicates_lines(report: "Duplicates") -> list[str]:
    """A line for each picture, the copies below the best of their group, and a line of totals."""
    lines = []
    for number, group in enumerate(report.groups, 1):
        lines.append(f"{number:>4}  best   {_picture_line(group.best)}")
        for copy in group.copies:
            similarity = "equal" if copy.same_file else f"{copy.likeness:.3f}"
            lines.append(f"      {similarity}  {_picture_line(copy)}")
    lines.append(
        f"{report.copies:,} copies in {report.total:,} groups, of {report.pictures:,} pictures"
        + (f"; the first {len(report.groups):,} groups are shown" if len(report.groups) < report.total else "")
    )
    if report.left_out:
        lines.append(
            f"{report.left_out:,} pictures were compared by their files alone: their vector or thumbnail is damaged "
            "or lost; anyseek verify names them"
        )
    return lines


def _picture_line(picture: "PictureAnswer") -> str:
    return "  ".join(filter(None, (picture.key, f"{picture.size_bytes:,} bytes", picture.path)))
