"""`anyseek sources …`: the folders, tables and buckets that a collection's items came from, and where they are now."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from anyseek.api.commands.catalogue import opened_catalogue
from anyseek.indexer.paths import from_uri, is_remote, to_uri
from anyseek.search.catalogue import collections, sources
from anyseek.search.catalogue.sources import HeldSource
from anyseek.search.settings import read_settings

_COLLECTION = click.option("--collection", required=True, help="The collection that the source belongs to.")


@click.group("sources")
def source_commands() -> None:
    """Show where the items of a collection came from, tell where that is now, and forget sources."""


@source_commands.command("list")
@click.option("--collection", help="Only the sources of this collection.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_sources(collection: str | None, as_json: bool) -> None:
    """List the sources of every collection, or of one, with their number of items."""
    with opened_catalogue(read_settings()) as database, database.read() as session:
        some = collections.list_all(session) if collection is None else [collections.get(session, collection)]
        for held in some:
            for source in sources.list_of(session, held):
                click.echo(_as_json(held.name, source) if as_json else _line(held.name, source))


@source_commands.command()
@click.argument("source")
@click.argument("to", type=click.Path(exists=True))
@_COLLECTION
def move(source: str, to: str, collection: str) -> None:
    """Record that the files of SOURCE are now at TO. Nothing is read again; keys and vectors of the items stay.

    `anyseek index TO --collection NAME` finds out by itself that a folder has moved, if it is gone from where it was.
    """
    from anyseek.indexer.placing import move_source

    settings = read_settings()
    with opened_catalogue(settings) as database:
        moved = move_source(database, settings, collection, root_of(source), to)
    click.echo(f"{moved.root}: {moved.items:,} items of {collection} are there now")


@source_commands.command()
@click.argument("source")
@_COLLECTION
@click.option("--items/--keep-items", "with_items", default=False, show_default=True, help="Delete its items too.")
@click.option("--yes", is_flag=True, help="Do not ask before items are deleted.")
def forget(source: str, collection: str, with_items: bool, yes: bool) -> None:
    """Forget SOURCE. Its items stay and can still be found, unless --items deletes them. Files are never deleted."""
    with opened_catalogue(read_settings()) as database:
        with database.read() as session:
            held = collections.get(session, collection)
            found = sources.find(session, held, root_of(source))
        if with_items and not yes:
            click.confirm(f"Delete the {found.items:,} items of {found.root} from {collection}?", abort=True, err=True)
        sources.forget(database, held, found.id, with_items)
    what = "deleted" if with_items else f"kept in {collection}"
    click.echo(f"{found.root} is forgotten; its {found.items:,} items are {what}")


def root_of(name: str) -> str:
    """A source as the catalogue names it: an address, or the absolute path, which need not exist."""
    return name.rstrip("/") if is_remote(name) else to_uri(os.path.realpath(Path(name)))


def _as_json(collection: str, source: HeldSource) -> str:
    return json.dumps({"collection": collection, **asdict(source)})


def _line(collection: str, source: HeldSource) -> str:
    prefix = f", keys begin with {source.key_prefix}" if source.key_prefix else ""
    gone = "" if is_remote(source.root) or _is_there(source.root) else ", gone"
    predicted = ", with predicted attributes" if source.predicts else ""
    return f"{collection}  {source.root}  {source.items:,} items{prefix}{predicted}{gone}"


def _is_there(root: str) -> bool:
    path = from_uri(root)
    return os.path.lexists(path) or bool(set(path) & set("*?{"))
