"""`anyseek keys`: API keys of the service, kept in the data directory."""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from anyseek.api.commands.catalogue import opened_catalogue
from anyseek.search.settings import read_settings

if TYPE_CHECKING:
    from anyseek.search.catalogue.api_keys import Quota, Usage
    from anyseek.search.catalogue.tables import ApiKeyRow

_MOST = 10**9
_ITEMS = click.option(
    "--items", type=click.IntRange(0, _MOST), help="The most items that count for the key; 0: any number."
)
_MEGABYTES = click.option(
    "--mb", type=click.IntRange(0, _MOST), help="The most MB of files that are stored for it; 0: any number."
)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys, and say how much each may store.

    Once a key has existed, every request needs one, even after the last was revoked. Scopes: metrics (for Prometheus,
    nothing else), read (query and look), write (also put and delete items, and run jobs), admin (also make and
    delete collections).
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope", type=click.Choice(["metrics", "read", "write", "admin"]), required=True, help="What the key may do."
)
@click.option("--days", type=click.IntRange(1, 36_500), help="After how many days the key expires.  [default: never]")
@_ITEMS
@_MEGABYTES
def create(name: str, scope: str, days: int | None, items: int | None, mb: int | None) -> None:
    """Make a key and print it once. Only its hash is kept.

    Its quota is that of ANYSEEK_QUOTAS_ITEMS and ANYSEEK_QUOTAS_MB unless --items or --mb say otherwise.
    """
    from anyseek.api.http.security import Scope, create_key

    settings, lasts = read_settings(), None if days is None else timedelta(days=days)
    usual = settings.quotas
    quota = _quota(usual.items if items is None else items, usual.mb if mb is None else mb)
    with opened_catalogue(settings) as database:
        click.echo(create_key(database, name, Scope(scope), lasts, quota))
    click.echo("Send it as `Authorization: Bearer KEY`, or set ANYSEEK_API_KEY. It cannot be shown again.", err=True)


@keys.command("list")
def list_keys() -> None:
    """Show each key's name, scope and state, when it was last used, to the hour, and what it stores of its quota."""
    from anyseek.search.catalogue import api_keys

    with opened_catalogue(read_settings()) as database, database.read() as session:
        for row in api_keys.list_all(session):
            used = f"last used {row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never used"
            stores = _stores(api_keys.usage(session, row.name), api_keys.Quota(row.most_items, row.most_bytes))
            click.echo(f"{row.name}  {row.scopes}  made {row.created_at:%Y-%m-%d}  {_state(row)}  {used}  {stores}")


@keys.command()
@click.argument("name")
@_ITEMS
@_MEGABYTES
def quota(name: str, items: int | None, mb: int | None) -> None:
    """Change how much a key may store. An option that is not given changes nothing.

    Items that it put, and those of jobs that it started, count for it. Above its quota it can query, change attributes
    and captions, and delete.
    """
    from anyseek.search.catalogue import api_keys

    if items is None and mb is None:
        raise click.UsageError("say --items, --mb or both; `anyseek keys list` shows quotas")
    asked = _quota(items, mb)
    with opened_catalogue(read_settings()) as database, database.write() as session:
        held = api_keys.quota_of(session, name)
        now = api_keys.Quota(held.items if items is None else asked.items, held.bytes if mb is None else asked.bytes)
        api_keys.set_quota(session, name, now)
        click.echo(f"the key {name} stores {_stores(api_keys.usage(session, name), now)}")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke a key. It opens nothing from now on."""
    from anyseek.search.catalogue import api_keys

    with opened_catalogue(read_settings()) as database, database.write() as session:
        api_keys.revoke(session, name)
    click.echo(f"the key {name} is revoked")


def _quota(items: int | None, mb: int | None) -> "Quota":
    from anyseek.search.catalogue.api_keys import MB, Quota

    return Quota(items or None, mb * MB if mb else None)


def _stores(usage: "Usage", quota: "Quota") -> str:
    from anyseek.search.catalogue.api_keys import MB

    items = f"{usage.items:,} items" + (f" of {quota.items:,}" if quota.items else "")
    return f"{items}, {usage.bytes / MB:,.1f} MB" + (f" of {quota.bytes / MB:,.1f}" if quota.bytes else "")


def _state(row: "ApiKeyRow") -> str:
    from anyseek.search.catalogue import api_keys

    if row.revoked_at:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    until = "" if row.expires_at is None else f" until {row.expires_at:%Y-%m-%d}"
    return f"active{until}" if api_keys.is_active(row) else f"expired {row.expires_at:%Y-%m-%d}"
