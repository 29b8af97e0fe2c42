"""`anyseek collections`, by the running service, or else in the data directory itself."""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from anyseek.api.client.connect import connect, connect_reader
from anyseek.api.commands.hits import facet_line, json_line
from anyseek.api.commands.output import say

if TYPE_CHECKING:
    from anyseek.api.client.answers import Collection, Job, Tuning
    from anyseek.api.client.client import Client

_LINE_SECONDS = 10.0


@click.group()
def collections() -> None:
    """List, make, show, re-embed and delete collections."""


@collections.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_collections(as_json: bool) -> None:
    """List every collection with its model and its number of items."""
    with connect_reader() as client:
        for collection in client.collections():
            say(json_line(collection) if as_json else _line(collection))


@collections.command()
@click.argument("name")
def create(name: str) -> None:
    """Make an empty collection."""
    with connect() as client:
        say(_line(client.create_collection(name)))


@collections.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
def show(name: str, as_json: bool) -> None:
    """Show a collection with its spaces and their fingerprints."""
    with connect_reader() as client:
        collection = client.collection(name)
    if as_json:
        say(json_line(collection))
        return
    say(_line(collection))
    for space in collection.spaces:
        say(f"  {space.name}: {space.dimension} dimensions, fingerprint {space.fingerprint}")
        for tuning in space.tuned:
            change = f"R@10 {tuning.before:.2f} -> {tuning.after:.2f}"
            say(f"    tuned to {tuning.modality}: {change} of {tuning.queries} queries")


@collections.command()
@click.argument("name")
@click.option("--where", metavar="FILTER", help="Only items whose attributes pass: 'width >= 1000'.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def facets(name: str, where: str | None, as_json: bool) -> None:
    """Show the attributes of the items of NAME, and how many items have each value."""
    with connect() as client:
        for facet in client.facets(name, where):
            say(json_line(facet) if as_json else facet_line(facet.model_dump(mode="json")))


@collections.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a collection with its items. Files that were indexed in place stay where they are."""
    with connect() as client:
        collection = client.collection(name)
        if not yes:
            click.confirm(f"Delete {name} with its {collection.items:,} items?", abort=True, err=True)
        client.delete_collection(name)
    say(f"the collection {name} is deleted")


@collections.command()
@click.argument("name")
@click.option("--model", required=True, help="See `anyseek models list`.")
@click.option("--json", "as_json", is_flag=True, help="Print the finished job as one JSON object.")
def reembed(name: str, model: str, as_json: bool) -> int:
    """Give every item of NAME the vectors of another model, then switch the collection to them.

    Until the switch, queries use the old vectors, and items can be put and deleted. If the command is killed or
    interrupted, run it again to resume. The old vectors are kept: `rollback` returns to them, `forget-old` drops them.

    Exits with 1, and does not switch, if some items could not be embedded: `anyseek jobs failures` says why.
    """
    return _run_job(name, lambda client: client.reembed(name, model), as_json)


@collections.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the finished job as one JSON object.")
def rollback(name: str, as_json: bool) -> int:
    """Return to the vectors that NAME had before its last switch. Newer items are embedded with that model first."""
    return _run_job(name, lambda client: client.rollback(name), as_json)


@collections.command()
@click.argument("name")
def switch(name: str) -> None:
    """Switch to the vectors that `reembed` made, although some items could not be embedded.

    Queries no longer find those items.
    """
    with connect() as client:
        left_out = client.switch(name)
        say(f"{_line(client.collection(name))}; {left_out:,} items were left out")


@collections.command("forget-old")
@click.argument("name")
def forget_old(name: str) -> None:
    """Drop the vectors that NAME had before its last switch. After that there is no way back to them."""
    with connect() as client:
        client.forget_old(name)
    say(f"{name} keeps no older vectors")


@collections.command()
@click.argument("name")
@click.option(
    "--items", type=int, help="The number of items, drawn with a fixed seed, to make queries from.  [default: 256]"
)
@click.option("--dry-run", is_flag=True, help="Measure, and change nothing.")
@click.option("--reset", is_flag=True, help="Return to the model's own means.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
def tune(name: str, items: int | None, dry_run: bool, reset: bool, as_json: bool) -> None:
    """Tune queries of NAME to its own items, without labels.

    The queries are edges drawn from the items' pictures, and captions, maps and whatever else items have besides a
    picture. The mean of each kind of query is fitted, and used if held-out queries do not lose recall. No vectors of
    items change. `--reset` undoes it; so does a switch to another model.
    """
    if reset and (dry_run or items is not None):
        raise click.UsageError("--reset cannot be combined with --dry-run or --items")
    with connect() as client:
        if reset:
            client.reset_tuning(name)
            say(json.dumps({"reset": name}) if as_json else f"{name} is searched with the model's own means")
            return
        tuning = client.tune(name, items, dry_run)
    say(json_line(tuning) if as_json else _tuning_lines(tuning))


def _tuning_lines(tuning: "Tuning") -> str:
    """A line for each kind of query, and the number of unreadable items."""
    kept = "would be kept" if tuning.dry_run else "kept"
    lines = []
    for trial in tuning.trials:
        old, new = trial.before, trial.after
        change = f"R@10 {old.at_10:.3f} -> {new.at_10:.3f}, first {old.at_1:.3f} -> {new.at_1:.3f}"
        verdict = kept if trial.kept else "not kept, since it loses"
        lines.append(f"{trial.modality}: {change} of {trial.queries:,} queries in {trial.space}; {verdict}")
    if tuning.unreadable:
        lines.append(f"{tuning.unreadable:,} of {tuning.items:,} items could not be read")
    return "\n".join(lines)


def _run_job(name: str, start: "Callable[[Client], Job]", as_json: bool) -> int:
    """Start a job, show its progress until it ends, and return the exit code."""
    with connect() as client:
        job, last_report = start(client), time.monotonic()
        for event in client.watch(job.id):
            job = event.job
            if time.monotonic() - last_report >= _LINE_SECONDS and not as_json:
                say(f"job {job.id}: {job.indexed:,} embedded, {job.open:,} to come", err=True)
                last_report = time.monotonic()
        error = f": {job.error}" if job.error else ""
        text = f"job {job.id} is {job.state}{error}\n{_line(client.collection(name))}"
        say(json_line(job) if as_json else text)
    return 0 if job.state == "done" else 1


def _line(collection: "Collection") -> str:
    other_models = "".join(f"  ({state}: {model})" for state, model in sorted(collection.beside.items()))
    names = sorted({tuning.modality for space in collection.spaces for tuning in space.tuned})
    tuned = f"  (tuned: {', '.join(names)})" if names else ""
    return f"{collection.name}  {collection.items:,} items  model {collection.model}{other_models}{tuned}"
