"""`anyseek collections`: over the service where one runs, else in the data directory itself."""

import json
from typing import Any

import click

from api.connect import connect


@click.group()
def collections() -> None:
    """List, make, show and delete collections."""


@collections.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_collections(as_json: bool) -> None:
    """Show every collection with its model and how many items it has."""
    with connect() as client:
        found = client.collections()
    for one in found:
        click.echo(json.dumps(one) if as_json else _line(one))


@collections.command()
@click.argument("name")
def create(name: str) -> None:
    """Make an empty collection."""
    with connect() as client:
        click.echo(_line(client.create_collection(name)))


@collections.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def show(name: str, as_json: bool) -> None:
    """Show a collection with its spaces and their fingerprints."""
    with connect() as client:
        found = client.collection(name)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(_line(found))
    for space in found["spaces"]:
        click.echo(f"  {space['name']}: {space['dimension']} dimensions, fingerprint {space['fingerprint']}")


@collections.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a collection with its items; files that were indexed where they lie stay there."""
    with connect() as client:
        found = client.collection(name)
        if not yes:
            click.confirm(f"Delete {name} with its {found['items']:,} items?", abort=True, err=True)
        client.delete_collection(name)
    click.echo(f"the collection {name} is deleted")


def _line(one: dict[str, Any]) -> str:
    return f"{one['name']}  {one['items']:,} items  model {one['model']}"
