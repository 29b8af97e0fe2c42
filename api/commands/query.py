"""`anyseek query`: one query from options, or many from a file."""

import json
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from api.commands.inputs import finite, read_input, split_weight
from api.queries.wire import DEFAULT_HITS, MOST_HITS, Part, Results

_FILE_OPTIONS = {"image": "rgb", "sketch": "sketch", "depth": "depth", "semseg": "semseg", "normal": "normal"}


@click.command()
@click.argument("text", required=False)
@click.option("--collection", required=True, help="The collection to search.")
@click.option(
    "--text-weight",
    type=float,
    default=1.0,
    callback=finite,
    help="The weight of the words; a negative one pushes away.",
)
@click.option("--image", multiple=True, metavar="FILE", help="A photo or any other picture.")
@click.option("--sketch", multiple=True, metavar="FILE", help="A drawing of any kind.")
@click.option("--palette", multiple=True, metavar="COLOURS", help="One to seven colours: '#ff0000,#ffffff'.")
@click.option("--depth", multiple=True, metavar="FILE", help="A depth map: 16-bit PNG or NPY, larger is farther.")
@click.option("--semseg", multiple=True, metavar="FILE", help="A segmentation map: 8-bit PNG of ids.")
@click.option("--normal", multiple=True, metavar="FILE", help="Surface normals as a PNG.")
@click.option(
    "--input", "inputs", multiple=True, metavar="MODALITY=FILE", help="Any other modality, such as boxes=b.json."
)
@click.option("--item", multiple=True, metavar="KEY", help="The key of an item of the collection: find more like it.")
@click.option(
    "-k", type=click.IntRange(1, MOST_HITS), default=DEFAULT_HITS, show_default=True, help="The number of hits."
)
@click.option(
    "--where", metavar="FILTER", help="Only items whose attributes pass: 'width >= 1000 and label in (cat, dog)'."
)
@click.option("--space", help="The space to search; by default the model chooses.")
@click.option(
    "--fusion",
    type=click.Choice(["joint", "late"]),
    help="How several parts become one vector; by default the model chooses.",
)
@click.option(
    "--batch",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of queries, one JSON object per line.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
def query(text: str | None, collection: str, k: int, **options: Any) -> None:
    """Find items by words, pictures, drawings, colours, depth, or all of them at once.

    A file, palette or key may end in a weight, as in `--sketch cat.png:0.7`; a negative weight pushes away. If a file
    really has such a name, the file wins; write `:1` after a key that ends like a weight. All options of a query may be
    repeated.

    With --batch, each line {"id", "parts": [{"modality", "text" | "file" | "data" | "item", "weight"?}], "k"?,
    "where"?, "fusion"?} is answered by a line {"id", "hits"} or {"id", "error"}, in order. Files are relative to the
    batch file.
    """
    parts = _parts(text, options)
    if bool(parts) == bool(options["batch"]):
        raise click.UsageError("give something to look for: words, --image, --sketch, …, or --batch alone")
    how = {name: options[name] for name in ("space", "where", "fusion")}
    from api.connect import connect

    with connect() as client:
        if options["batch"]:
            _answer_batch(options["batch"], client, collection, {"k": k, **how})
            return
        results = client.query(collection, parts, k, **how)
    click.echo(_as_json(results) if options["as_json"] else as_table(results))


def _parts(text: str | None, options: dict[str, Any]) -> list[Part]:
    parts = [Part("caption", text=text, weight=options["text_weight"])] if text is not None else []
    for option, modality in _FILE_OPTIONS.items():
        for value in options[option]:
            name, weight = (value, 1.0) if Path(value).exists() else split_weight(value)
            parts.append(Part(modality, file=Path(name), weight=weight))
    for value in options["palette"]:
        colours, weight = split_weight(value)
        parts.append(Part("color_palette", text=colours, weight=weight))
    for value in options["inputs"]:
        given = read_input(value, options["text_weight"])
        parts.append(Part(given.modality, given.text, given.file, weight=1.0 if given.weight is None else given.weight))
    for value in options["item"]:
        key, weight = split_weight(value)
        parts.append(Part(item=key, weight=weight))
    return parts


def _answer_batch(path: Path, client: Any, collection: str, defaults: dict[str, Any]) -> None:
    from api.queries.batch_file import answer_lines

    with path.open("rb") as lines:
        for line in answer_lines(lines, path.parent, client, collection, defaults):
            click.echo(line)


def _as_json(results: Results) -> str:
    return json.dumps(asdict(results))


def as_table(results: Results) -> str:
    """One line for each hit: rank, score, key and caption."""
    if not results.hits:
        return "nothing was found: the collection is empty, or no item passes the filter"
    width = max(len(hit.key) for hit in results.hits)
    rows = [
        f"{hit.rank:>4}  {hit.score:6.3f}  {_printable(hit.key):<{min(width, 60)}}  {_printable(hit.caption or '')}"
        for hit in results.hits
    ]
    return "\n".join(row.rstrip() for row in rows)


def _printable(text: str) -> str:
    """`text` without what could move the cursor or colour the terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign)[0] == "C" else sign for sign in text)
