"""`anyseek backup` and `anyseek restore`: an installation as one file."""

import sys
from pathlib import Path

import click

from anyseek.search.settings import read_settings


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--assets/--no-assets", default=True, show_default=True, help="Include the stored files.")
@click.option("--yes", is_flag=True, help="Replace FILE without asking.")
def backup(file: Path, assets: bool, yes: bool) -> None:
    """Write everything that cannot be derived into FILE. Works while a service runs.

    If FILE exists, it is replaced only with --yes, or by a yes when asked, and once the new backup is complete.

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
        written = write_backup(runtime.database, runtime.assets, file, assets, runtime.settings.locks)
    files = f"{written.assets:,} stored files" if assets else "no files"
    click.echo(
        f"{file}: {written.rows['collections']:,} collections, {written.rows['items']:,} items, "
        f"{written.rows['log']:,} entries of the log, {files}; {written.size:,} bytes"
    )


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Restore FILE into an empty data directory and an empty database, SQLite or PostgreSQL.

    The whole file is checked before anything is written. Indexes are made when they are first needed.
    """
    from anyseek.search.backup.read import restore as read_backup

    settings = read_settings()
    restored = read_backup(settings, file)
    click.echo(
        f"{restored.rows['collections']:,} collections, {restored.rows['items']:,} items and "
        f"{restored.assets:,} stored files are in {settings.home}"
    )
    if not restored.with_assets:
        click.echo(f"the backup was made without stored files: put them into {settings.assets} yourself", err=True)
