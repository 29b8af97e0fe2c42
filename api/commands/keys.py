"""`anyseek keys`, the API keys of the service, and `anyseek audit`, who changed what with them and otherwise."""

import json
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from anyseek.api.commands.output import say
from anyseek.search.settings import read_settings

if TYPE_CHECKING:
    from anyseek.search.catalogue.api_keys import Quota, Usage
    from anyseek.search.catalogue.session import Database
    from anyseek.search.catalogue.tables import ApiKeyRow

_MAX_COUNT = 10**9
_ITEMS = click.option(
    "--items", type=click.IntRange(0, _MAX_COUNT), help="The most items that count for the key; 0: any number."
)
_MEGABYTES = click.option(
    "--mb", type=click.IntRange(0, _MAX_COUNT), help="The most MB of files that are stored for it; 0: any number."
)
_MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


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

    --items and --mb override the default quota of ANYSEEK_QUOTAS_ITEMS and ANYSEEK_QUOTAS_MB.
    """
    from anyseek.api.http.security import Scope, create_key

    lifetime = None if days is None else timedelta(days=days)
    defaults = read_settings().quotas
    quota = _quota(defaults.items if items is None else items, defaults.mb if mb is None else mb)
    with _catalogue() as database:
        say(create_key(database, name, Scope(scope), lifetime, quota))
    say("Send it as `Authorization: Bearer KEY`, or set ANYSEEK_API_KEY. It cannot be shown again.", err=True)


@keys.command("list")
def list_keys() -> None:
    """List each key's name, scope, state, last use (to the hour), and usage of its quota."""
    from anyseek.search.catalogue import api_keys

    with _catalogue() as database, database.read() as session:
        for row in api_keys.list_all(session):
            last_use = f"last used {row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never used"
            usage = _usage_text(api_keys.usage(session, row.name), api_keys.Quota(row.most_items, row.most_bytes))
            say(f"{row.name}  {row.scopes}  made {row.created_at:%Y-%m-%d}  {_state(row)}  {last_use}  {usage}")


@keys.command()
@click.argument("name")
@_ITEMS
@_MEGABYTES
def quota(name: str, items: int | None, mb: int | None) -> None:
    """Change how much a key may store. Without an option, its limit stays the same.

    Items that it put, and those of jobs that it started, count for it. Above its quota it can query, change attributes
    and captions, and delete.
    """
    from anyseek.search.catalogue import api_keys

    if items is None and mb is None:
        raise click.UsageError("give --items, --mb or both; `anyseek keys list` shows quotas")
    new = _quota(items, mb)
    with _catalogue() as database, database.write() as session:
        old = api_keys.quota_of(session, name)
        new = api_keys.Quota(old.items if items is None else new.items, old.bytes if mb is None else new.bytes)
        api_keys.set_quota(session, name, new)
        say(f"the key {name} stores {_usage_text(api_keys.usage(session, name), new)}")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke a key. Requests with it are refused from now on."""
    from anyseek.search.catalogue import api_keys

    with _catalogue() as database, database.write() as session:
        api_keys.revoke(session, name)
    say(f"the key {name} is revoked")


@click.command()
@click.option("--who", help="Only changes by `key:NAME` (an API key), `user:NAME` (a command) or `anybody`.")
@click.option("--action", help="Only this action, such as item.put, or those that begin like it, such as item.")
@click.option("--collection", help="Only changes of this collection.")
@click.option("--since", type=click.DateTime(_MOMENTS), help="Only changes from then on, in local time.")
@click.option("--until", type=click.DateTime(_MOMENTS), help="Only changes before then.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="The most to list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def audit(
    who: str | None,
    action: str | None,
    collection: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List who changed what, newest first: items, collections, jobs, sources and API keys.

    Changes by commands are listed, too. A service removes entries after ANYSEEK_AUDIT_DAYS (90).
    """
    from anyseek.search.catalogue.audit import EntryFilter, list_page

    # A time without a zone is local.
    begin, end = (None if moment is None else moment.astimezone(UTC) for moment in (since, until))
    with _catalogue() as database, database.read() as session:
        entries = list_page(session, EntryFilter(who, action, collection, begin, end), None, limit)
    for entry in entries:
        if as_json:
            say(json.dumps({**asdict(entry), "at": entry.at.isoformat()}))
            continue
        actor = entry.who if entry.address is None else f"{entry.who} from {entry.address}"
        what = [entry.action, entry.collection, None if entry.target is None else json.dumps(entry.target)]
        say(f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}  {actor}  {' '.join(part for part in what if part)}")


def _catalogue() -> "closing[Database]":
    from anyseek.search.catalogue.upgrade import open_database

    return closing(open_database(read_settings()))


def _quota(items: int | None, mb: int | None) -> "Quota":
    from anyseek.search.catalogue.api_keys import MB, Quota

    return Quota(items or None, mb * MB if mb else None)


def _usage_text(usage: "Usage", quota: "Quota") -> str:
    from anyseek.search.catalogue.api_keys import MB

    items = f"{usage.items:,} items" + (f" of {quota.items:,}" if quota.items else "")
    return f"{items}, {usage.bytes / MB:,.1f} MB" + (f" of {quota.bytes / MB:,.1f}" if quota.bytes else "")


def _state(row: "ApiKeyRow") -> str:
    from anyseek.search.catalogue import api_keys

    if row.revoked_at:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    until = "" if row.expires_at is None else f" until {row.expires_at:%Y-%m-%d}"
    return f"active{until}" if api_keys.is_active(row) else f"expired {row.expires_at:%Y-%m-%d}"
