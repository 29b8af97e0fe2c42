"""`anyseek verify` and `anyseek rebuild`: check that the parts of a data directory agree, and rebuild derived ones."""

import json
from collections.abc import Sequence
from functools import partial

import click

from anyseek.search.settings import Settings, read_settings

_SHOWN_NOTES = 10


@click.command()
@click.option("--originals", "every", is_flag=True, help="Read every original too, and compare its content.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def verify(every: bool, as_json: bool) -> int:
    """Check that catalogue, log, index and stored files agree. Works while a service runs.

    Exits with 0 if they agree, else with 1 and a line for each problem. Some things are noted but are not problems, and
    do not change the exit code: originals that were indexed in place and are gone or have changed (which sizes tell,
    and with --originals their content), items that a re-embedding left out, and rows without checksums.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from anyseek.search.errors import AnyseekError
    from anyseek.search.upkeep.verify import check_originals, summary
    from anyseek.search.upkeep.verify import notes as find_notes
    from anyseek.search.upkeep.verify import verify as find_problems
    from anyseek.workers.runtime import Runtime

    with Runtime.open(read_settings(), None) as runtime:
        problems = find_problems(runtime.database, runtime.settings)
        notes = find_notes(runtime.database)
        try:
            lost = check_originals(runtime.database, runtime.settings, every)
        except (AnyseekError, SQLAlchemyError, ValueError, TypeError):
            if not problems:
                raise
            lost = []  # damage keeps them from being read, as the problems say
    noted = [(note.collection, note.what) for note in notes] + [(note.collection, note.what) for note in lost]
    _show("note", noted, as_json, _SHOWN_NOTES)
    _show("problem", [(problem.collection, problem.what) for problem in problems], as_json, len(problems))
    if not problems and not as_json:
        click.echo(f"{summary(lost)}; everything else agrees" if lost else "everything agrees")
    return 1 if problems else 0


def _show(kind: str, found: Sequence[tuple[str, str]], as_json: bool, most: int) -> None:
    shown = found if as_json else found[:most]
    for collection, what in shown:
        members = {"collection": collection, kind: what}
        click.echo(json.dumps(members) if as_json else f"{kind}: {collection}: {what}")
    if len(shown) < len(found):
        click.echo(f"{kind}: and {len(found) - len(shown)} more like these; --json lists them all")


@click.command()
@click.argument("collection", required=False)
def rebuild(collection: str | None) -> int:
    """Rebuild the index of COLLECTION, or of every collection, from the catalogue. Works while a service runs.

    Items that have lost their vectors or stored files are made anew from their originals. Exits with 1 if some
    originals are gone too: then index their folder or put those items again.
    """
    from anyseek.search.catalogue import collections
    from anyseek.workers.runtime import Runtime

    settings = read_settings()
    with Runtime.open(settings, None) as runtime, runtime.database.read() as session:
        known = [held.name for held in collections.list_all(session)]
    names = [collection] if collection else known
    lost = sum(_rebuild_one(settings, name, index_words=name == names[0]) for name in names)
    return 1 if lost else 0


def _rebuild_one(settings: Settings, name: str, index_words: bool) -> int:
    """Rebuild one collection; returns how many of its items are lost."""
    from anyseek.indexer.put import remake
    from anyseek.search.catalogue import audit
    from anyseek.search.upkeep.rebuild import rebuild as rebuild_collection
    from anyseek.workers.runtime import Runtime

    with Runtime.open_for(settings, name, None) as runtime:
        with runtime.database.write() as session:
            audit.record(session, "collection.rebuild", name)
        left = rebuild_collection(runtime.database, settings, name, partial(remake, runtime.tools), index_words)
    click.echo(f"the index of {name} was made anew")
    for key in left:
        click.echo(f"{name}: the item {key!r} has lost its vectors or files; put or index it again", err=True)
    return len(left)
