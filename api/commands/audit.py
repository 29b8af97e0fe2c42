"""`anyseek audit`: who changed what, and when."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

import click

from anyseek.api.commands.catalogue import opened_catalogue
from anyseek.search.settings import read_settings

_MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


@click.command()
@click.option("--who", help="Only changes by `key:NAME` (an API key), `user:NAME` (a command) or `anybody`.")
@click.option("--action", help="Only this action, such as item.put, or those that begin like it, such as item.")
@click.option("--collection", help="Only changes of this collection.")
@click.option("--since", type=click.DateTime(_MOMENTS), help="Only changes from then on, in this machine's time.")
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
    from anyseek.search.catalogue import audit as log

    wanted = log.Wanted(who, action, collection, _utc(since), _utc(until))
    with opened_catalogue(read_settings()) as database, database.read() as session:
        found = log.list_page(session, wanted, None, limit)
    for entry in found:
        if as_json:
            click.echo(json.dumps({**asdict(entry), "at": entry.at.isoformat()}))
            continue
        told = [entry.action, entry.collection, None if entry.target is None else json.dumps(entry.target)]
        by = entry.who if entry.address is None else f"{entry.who} from {entry.address}"
        click.echo(f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}  {by}  {' '.join(part for part in told if part)}")


def _utc(moment: datetime | None) -> datetime | None:
    """A moment without a zone is meant in this machine's time."""
    return None if moment is None else moment.astimezone(UTC)
