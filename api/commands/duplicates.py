"""`anyseek duplicates`: groups of pictures that are the same one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anyseek.api.client.connect import connect
from anyseek.api.commands.hits import echo_paths, only_collection, write_prints
from anyseek.api.commands.printing import json_line, printable

if TYPE_CHECKING:
    from anyseek.api.client.answers import Duplicates
    from anyseek.api.schemas import PictureAnswer

_SHEET = click.Path(dir_okay=False, writable=True, path_type=Path)
_MOST = 10_000
_ON_A_SHEET = 500


@click.command()
@click.argument("collection", required=False)
@click.option(
    "--limit", type=click.IntRange(1, _MOST), default=1000, show_default=True, help="The most groups to list."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
@click.option("--paths", is_flag=True, help="Print the paths of the copies alone, one a line, without the best ones.")
@click.option("-0", "--null", is_flag=True, help="With --paths: end each path with NUL instead of a line end.")
@click.option("--contact-sheet", type=_SHEET, metavar="FILE", help="Also write the groups as a picture: out.png.")
def duplicates(collection: str | None, as_json: bool, **options: Any) -> None:
    """Find pictures of COLLECTION that are the same one: in another size, compressed again, brighter, cropped a little.

    Each group names its best picture first: that of the most pixels, then of the largest file, then the earliest. The
    others resemble that one. Nothing is changed or deleted. COLLECTION is not needed if there is only one.
    """
    if options["paths"] and as_json:
        raise click.UsageError("give --paths or --json; the JSON has the paths too")
    if options["null"] and not options["paths"]:
        raise click.UsageError("-0 is for --paths")
    with connect() as client:
        collection = collection or only_collection(client)
        found = client.duplicates(collection, options["limit"])
        if options["contact_sheet"]:
            pictures = _numbered(collection, found)[:_ON_A_SHEET]
            write_prints(client, pictures, options["contact_sheet"])
            click.echo(f"{options['contact_sheet']}: {len(pictures)} pictures", err=True)
    if options["paths"]:
        copies = [copy.path for group in found.groups for copy in group.copies]
        echo_paths(copies, "copies", options["null"])
    else:
        click.echo(json_line(found) if as_json else _as_text(found))


def _numbered(collection: str, found: "Duplicates") -> list[tuple[int, str, str]]:
    """The number of its group, its collection and its key, for every picture."""
    return [
        (number, collection, picture.key)
        for number, group in enumerate(found.groups, 1)
        for picture in (group.best, *group.copies)
    ]


def _as_text(found: "Duplicates") -> str:
    """A line for each picture, its copies under the best of each group, and what was found in all."""
    lines = []
    for number, group in enumerate(found.groups, 1):
        lines.append(f"{number:>4}  best   {_named(group.best)}")
        for copy in group.copies:
            alike = "equal" if copy.same_file else f"{copy.likeness:.3f}"
            lines.append(f"      {alike}  {_named(copy)}")
    lines.append(
        f"{found.copies:,} copies in {found.total:,} groups, of {found.pictures:,} pictures"
        + (f"; the first {len(found.groups):,} groups are shown" if len(found.groups) < found.total else "")
    )
    if found.left_out:
        lines.append(
            f"{found.left_out:,} pictures were compared by their files alone: their vector or thumbnail is damaged "
            "or lost; anyseek verify names them"
        )
    return "\n".join(lines)


def _named(picture: "PictureAnswer") -> str:
    return printable("  ".join(filter(None, (picture.key, f"{picture.size_bytes:,} bytes", picture.path))))
