"""`anyseek verify`, `rebuild`, `backup` and `restore`: check, repair, save and restore a data directory."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from anyseek.api.commands.output import say
from anyseek.search.settings import read_settings

_SHOWN_NOTES = 10


@click.command()
@click.option("--originals", "compare_content", is_flag=True, help="Read every original too, and compare its content.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def verify(compare_content: bool, as_json: bool) -> int:
    """Check that catalogue, log, index and stored files agree. Works while a service runs.

    Exits with 0 if they agree, else with 1 and a line for each problem. Notes do not change the exit code: originals
    that were indexed in place and are gone or have changed (in size, or with --originals in content), items that a
    re-embedding left out, and rows without checksums.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from anyseek.search.errors import AnyseekError
    from anyseek.search.upkeep.verify import check_originals, known_conditions, summary
    from anyseek.search.upkeep.verify import verify as find_problems
    from anyseek.workers.runtime import Runtime

    with Runtime.open(read_settings(), None) as runtime:
        problems = find_problems(runtime.database, runtime.settings)
        conditions = known_conditions(runtime.database)
        try:
            originals = check_originals(runtime.database, runtime.settings, compare_content)
        except (AnyseekError, SQLAlchemyError, ValueError, TypeError):
            if not problems:
                raise
            originals = []  # damage keeps them from being read, as the problems say
    notes = [(note.collection, note.what) for note in conditions]
    notes += [(original.collection, original.what) for original in originals]
    _print_findings("note", notes, as_json, _SHOWN_NOTES)
    _print_findings("problem", [(problem.collection, problem.what) for problem in problems], as_json, len(problems))
    if not problems and not as_json:
        say(f"{summary(originals)}; everything else agrees" if originals else "everything agrees")
    return 1 if problems else 0


def _print_findings(kind: str, findings: Sequence[tuple[str, str]], as_json: bool, most: int) -> None:
    shown = findings if as_json else findings[:most]
    for collection, what in shown:
        members = {"collection": collection, kind: what}
        say(json.dumps(members) if as_json else f"{kind}: {collection}: {what}")
    if len(shown) < len(findings):
        say(f"{kind}: and {len(findings) - len(shown)} more like these; --json lists them all")


@click.command()
@click.argument("collection", required=False)
def rebuild(collection: str | None) -> int:
    """Rebuild the index of COLLECTION, or of every collection, from the catalogue. Works while a service runs.

    Items whose vectors or stored files are lost are embedded again from their originals. Exits with 1 if some
    originals are gone too: then index their folder or put those items again.
    """
    from anyseek.indexer.put import rebuild_items
    from anyseek.search.catalogue import audit, collections
    from anyseek.search.upkeep.rebuild import rebuild as rebuild_collection
    from anyseek.workers.runtime import Runtime

    settings = read_settings()
    with Runtime.open(settings, None) as runtime, runtime.database.read() as session:
        names = [collection] if collection else [row.name for row in collections.list_all(session)]
    lost_count = 0
    for name in names:
        with Runtime.open_for(settings, name, None) as runtime:
            with runtime.database.write() as session:
                audit.record(session, "collection.rebuild", name)
            reembed_items = partial(rebuild_items, runtime.context)
            keys = rebuild_collection(runtime.database, settings, name, reembed_items)
        say(f"the index of {name} was rebuilt")
        for key in keys:
            say(f"{name}: the item {key!r} has lost its vectors or files; put or index it again", err=True)
        lost_count += len(keys)
    return 1 if lost_count else 0


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--assets/--no-assets", default=True, show_default=True, help="Include the stored files.")
@click.option("--yes", is_flag=True, help="Replace FILE without asking.")
def backup(file: Path, assets: bool, yes: bool) -> None:
    """Write everything that cannot be derived into FILE. Works while a service runs.

    An existing FILE is replaced only with --yes or after confirmation, and only once the new backup is complete.

    The backup holds collections, items, vectors, jobs, hashes of API keys, and stored files. It holds only the paths of
    files that were indexed in place, and neither indexes nor models.
    """
    from anyseek.search.backup.write import backup as write_backup
    from anyseek.workers.runtime import Runtime

    if file.exists() and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"{file} exists; give another name, or --yes to replace it")
        click.confirm(f"Replace {file}?", abort=True, err=True)
    with Runtime.open(read_settings(), None) as runtime:
        totals = write_backup(runtime.database, runtime.assets, file, assets)
    files = f"{totals.assets:,} stored files" if assets else "no files"
    say(
        f"{file}: {totals.rows['collections']:,} collections, {totals.rows['items']:,} items, "
        f"{totals.rows['log']:,} entries of the log, {files}; {totals.size:,} bytes"
    )


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Restore FILE into an empty data directory and an empty database, SQLite or PostgreSQL.

    The whole file is checked before anything is written. Indexes are built when they are first needed.
    """
    from anyseek.search.backup.read import restore as read_backup

    settings = read_settings()
    totals = read_backup(settings, file)
    say(
        f"{totals.rows['collections']:,} collections, {totals.rows['items']:,} items and "
        f"{totals.assets:,} stored files are in {settings.bucket or settings.home}"
    )
    if not totals.with_assets:
        target = settings.bucket or settings.assets.parent
        say(f"the backup was made without stored files: put them into {target}/assets yourself", err=True)
