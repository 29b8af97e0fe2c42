"""`anyseek facets`: attributes that a collection is taught by labelled examples."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anyseek.api.client.connect import connect
from anyseek.api.commands.hits import json_line
from anyseek.api.commands.output import say
from anyseek.search.errors import BadInput

if TYPE_CHECKING:
    from anyseek.api.client.answers import TaughtFacet

_TRUTHS = {"yes": True, "true": True, "no": False, "false": False}
Label = bool | float | str | None


@click.group()
def facets() -> None:
    """Teach a collection attributes by a few labelled items."""


@facets.command()
@click.argument("collection")
@click.argument("name")
@click.option(
    "--from", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A CSV file: key,label."
)
@click.option("--yes", "liked", multiple=True, metavar="KEY", help="An item that has it; may be given several times.")
@click.option("--no", "disliked", multiple=True, metavar="KEY", help="An item that does not have it.")
@click.option("--caption", "captions", multiple=True, metavar="LABEL=WORDS", help="Words as an example of a label.")
@click.option("--anew", is_flag=True, help="Forget earlier examples.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
def teach(
    collection: str,
    name: str,
    file: Path | None,
    liked: tuple[str, ...],
    disliked: tuple[str, ...],
    captions: tuple[str, ...],
    anew: bool,
    as_json: bool,
) -> None:
    """Teach COLLECTION the attribute NAME, and give all items their values.

    Labels are yes and no, names of classes, or numbers; an empty label removes an example. Examples are added to the
    earlier ones. Without any, the attribute is learned anew and applied to what it was not applied to.
    """
    labels = _read_labels(file) if file is not None else {}
    labels |= dict.fromkeys(liked, True) | dict.fromkeys(disliked, False)
    described = {words: _label(label) for label, _, words in (caption.partition("=") for caption in captions)}
    with connect() as client:
        taught = client.teach(collection, name, labels, described, anew)
    say(json_line(taught) if as_json else _line(taught))


@facets.command("list")
@click.argument("collection")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_facets(collection: str, as_json: bool) -> None:
    """List the attributes that COLLECTION was taught, each with its error."""
    with connect() as client:
        for taught in client.taught_facets(collection):
            say(json_line(taught) if as_json else _line(taught))


@facets.command()
@click.argument("collection")
@click.argument("name")
@click.option("--count", default=10, show_default=True, help="The number of items.")
def suggest(collection: str, name: str, count: int) -> None:
    """Suggest the items of COLLECTION whose labels would help NAME most, one key per line."""
    with connect() as client:
        for key in client.suggest_examples(collection, name, count):
            say(key)


@facets.command()
@click.argument("collection")
@click.argument("name")
@click.argument("key")
def why(collection: str, name: str, key: str) -> None:
    """Say which examples the item KEY is like, and how certain its value of NAME is."""
    with connect() as client:
        reason = client.explain_taught(collection, name, key)
    certainty = "" if reason.certainty is None else f"  ({reason.certainty:.2f})"
    say(f"{_shown(reason.value)}{certainty}  like {', '.join(reason.like) or 'no example'}")


@facets.command()
@click.argument("collection")
@click.argument("name")
def forget(collection: str, name: str) -> None:
    """Forget NAME of COLLECTION: its examples and the values of all items."""
    with connect() as client:
        client.forget_taught(collection, name)
    say(f"{name} is forgotten")


def _read_labels(file: Path) -> dict[str, Label]:
    """Labels by key; numbers if all are, else truths if all are, else names. Raises `BadInput`."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = [row for row in csv.reader(lines) if row]
    if rows and [cell.strip().lower() for cell in rows[0]] == ["key", "label"]:
        rows = rows[1:]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise BadInput(f"row {number} of {file} has {len(row)} columns; a row is a key and a label")
    texts = {key: label.strip() for key, label in rows}
    given = [text for text in texts.values() if text]
    if all(text.lower() in _TRUTHS for text in given):
        return {key: _TRUTHS.get(text.lower()) for key, text in texts.items()}
    try:
        return {key: float(text) if text else None for key, text in texts.items()}
    except ValueError:
        return {key: text or None for key, text in texts.items()}


def _label(text: str) -> bool | str:
    return _TRUTHS.get(text.lower(), text)


def _shown(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _line(taught: "TaughtFacet") -> str:
    held_out, error = taught.held_out, "error unknown: too few examples"
    if held_out is not None:
        error = f"{held_out.measure} {held_out.value:.2f} ({held_out.low:.2f} to {held_out.high:.2f})"
    state = "" if taught.applied else "  (being applied)"
    return f"{taught.attribute}  {taught.kind}  {len(taught.examples)} examples  {taught.method}  {error}{state}"
