"""`anyseek keys`: API keys of the service, kept in the data directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from search.settings import read_settings

if TYPE_CHECKING:
    from search.catalogue.session import Database
    from search.catalogue.tables import ApiKeyRow


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    Once a key has existed, every request needs one, even after the last was revoked. Scopes: metrics (for Prometheus,
    nothing else), read (query and look),
    write (also put and delete items, and run jobs), admin (also make and delete collections).
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope", type=click.Choice(["metrics", "read", "write", "admin"]), required=True, help="What the key may do."
)
@click.option("--days", type=click.IntRange(1, 36_500), help="After how many days the key expires.  [default: never]")
def create(name: str, scope: str, days: int | None) -> None:
    """Make a key and print it once. Only its hash is kept."""
    from api.security import Scope, create_key

    lasts = None if days is None else timedelta(days=days)
    with _database() as database:
        click.echo(create_key(database, name, Scope(scope), lasts))
    click.echo("Send it as `Authorization: Bearer KEY`, or set ANYSEEK_API_KEY. It cannot be shown again.", err=True)


@keys.command("list")
def list_keys() -> None:
    """Show names, scopes, states, and when each was last used, to the hour."""
    from search.catalogue import api_keys

    with _database() as database, database.read() as session:
        for row in api_keys.list_all(session):
            used = f"last used {row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never used"
            click.echo(f"{row.name}  {row.scopes}  made {row.created_at:%Y-%m-%d}  {_state(row)}  {used}")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke a key. It opens nothing from now on."""
    from search.catalogue import api_keys

    with _database() as database, database.write() as session:
        api_keys.revoke(session, name)
    click.echo(f"the key {name} is revoked")


def _state(row: "ApiKeyRow") -> str:
    from search.catalogue import api_keys

    if row.revoked_at:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    until = "" if row.expires_at is None else f" until {row.expires_at:%Y-%m-%d}"
    return f"active{until}" if api_keys.is_active(row) else f"expired {row.expires_at:%Y-%m-%d}"


@contextmanager
def _database() -> Iterator["Database"]:
    from search.catalogue.session import Database
    from search.catalogue.upgrade import upgrade

    settings = read_settings()
    settings.make_home()
    database = Database(settings.database_url)
    try:
        upgrade(database)
        yield database
    finally:
        database.close()
