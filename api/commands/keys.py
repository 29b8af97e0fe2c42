"""`anyseek keys`: API keys of the service, kept in the data directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from search.settings import read_settings

if TYPE_CHECKING:
    from search.catalogue.session import Database


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    Once a key exists, every request needs one. Scopes: read (query and look), write (also put and delete items, and run
    jobs), admin (also make and delete collections).
    """


@keys.command()
@click.argument("name")
@click.option("--scope", type=click.Choice(["read", "write", "admin"]), required=True, help="What the key may do.")
def create(name: str, scope: str) -> None:
    """Make a key and print it once. Only its hash is kept."""
    from api.security import Scope, create_key

    with _database() as database:
        click.echo(create_key(database, name, Scope(scope)))
    click.echo("Send it as `Authorization: Bearer KEY`, or set ANYSEEK_API_KEY. It cannot be shown again.", err=True)


@keys.command("list")
def list_keys() -> None:
    """Show names, scopes and states."""
    from search.catalogue import api_keys

    with _database() as database, database.read() as session:
        for row in api_keys.list_all(session):
            state = f"revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "active"
            click.echo(f"{row.name}  {row.scopes}  made {row.created_at:%Y-%m-%d}  {state}")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke a key. It opens nothing from now on."""
    from search.catalogue import api_keys

    with _database() as database, database.write() as session:
        api_keys.revoke(session, name)
    click.echo(f"the key {name} is revoked")


@contextmanager
def _database() -> Iterator["Database"]:
    from search.catalogue.session import Database
    from search.catalogue.upgrade import upgrade

    settings = read_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    try:
        upgrade(database)
        yield database
    finally:
        database.close()
