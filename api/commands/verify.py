"""`anyseek verify` and `anyseek rebuild`: check that the parts of a data directory agree, and rebuild derived ones."""

import json
from functools import partial

import click

from search.settings import Settings, read_settings

_SHOWN_NOTES = 10


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def verify(as_json: bool) -> int:
    """Check that catalogue, log, index and stored files agree. Works while a service runs.

    Exits with 0 if they agree, else with 1 and a line for each problem. Two things are noted but are not problems:
    originals that were indexed in place and are gone, and items that a re-embedding left out.
    """
    from search.maintenance import notes as find_notes
    from search.maintenance import verify as find_problems
    from workers.runtime import Runtime

    with Runtime.open(read_settings(), None) as runtime:
        problems = find_problems(runtime.database, runtime.settings)
        notes = find_notes(runtime.database)
    shown = notes if as_json else notes[:_SHOWN_NOTES]
    for kind, found in (("note", shown), ("problem", problems)):
        for finding in found:
            members = {"collection": finding.collection, kind: finding.what}
            click.echo(json.dumps(members) if as_json else f"{kind}: {finding.collection}: {finding.what}")
    if len(shown) < len(notes):
        click.echo(f"note: and {len(notes) - len(shown)} more like these; --json lists them all")
    if not problems and not as_json:
        click.echo("everything agrees")
    return 1 if problems else 0


@click.command()
@click.argument("collection", required=False)
def rebuild(collection: str | None) -> int:
    """Make the index of COLLECTION, or of every collection, anew from the catalogue. Works while a service runs.

    Items that have lost their vectors or stored files are made anew from their originals. Exits with 1 if some
    originals are gone too: then index their folder or put those items again.
    """
    from search.catalogue import collections
    from workers.runtime import Runtime

    settings = read_settings()
    with Runtime.open(settings, None) as runtime, runtime.database.read() as session:
        known = [held.name for held in collections.list_all(session)]
    lost = sum(_rebuild_one(settings, name) for name in ([collection] if collection else known))
    return 1 if lost else 0


def _rebuild_one(settings: Settings, name: str) -> int:
    """Rebuild one collection; returns how many of its items are lost."""
    from indexer.put import remake
    from search.maintenance import rebuild as rebuild_collection
    from workers.runtime import Runtime

    with Runtime.open_for(settings, name, None) as runtime:
        left = rebuild_collection(runtime.database, settings, name, partial(remake, runtime.tools))
    click.echo(f"the index of {name} was made anew")
    for key in left:
        click.echo(f"{name}: the item {key!r} has lost its vectors or files; put or index it again", err=True)
    return len(left)
