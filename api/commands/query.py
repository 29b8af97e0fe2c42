"""`anyseek query`: one query from options, or many from a file."""

import json
import math
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from api.commands.inputs import read_input, split_weight
from api.wire import DEFAULT_HITS, Part, Results

MOST_HITS = 10_000
_FILE_OPTIONS = {"image": "rgb", "sketch": "sketch", "depth": "depth", "semseg": "semseg", "normal": "normal"}


def _finite(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


@click.command()
@click.argument("text", required=False)
@click.option("--collection", required=True, help="Where to look.")
@click.option(
    "--text-weight", type=float, default=1.0, callback=_finite, help="How much the words count; negative to push away."
)
@click.option("--image", multiple=True, metavar="FILE", help="A photo or picture.")
@click.option("--sketch", multiple=True, metavar="FILE", help="A drawing of any kind.")
@click.option("--palette", multiple=True, metavar="COLOURS", help="One to seven colours: '#ff0000,#ffffff'.")
@click.option("--depth", multiple=True, metavar="FILE", help="A depth map: 16-bit PNG or NPY, larger is farther.")
@click.option("--semseg", multiple=True, metavar="FILE", help="A segmentation map: 8-bit PNG of ids.")
@click.option("--normal", multiple=True, metavar="FILE", help="Surface normals as a PNG.")
@click.option("--input", "inputs", multiple=True, metavar="MODALITY=FILE", help="Anything else, as in boxes=b.json.")
@click.option("--item", multiple=True, metavar="KEY", help="An item of the collection: more like it.")
@click.option("-k", type=click.IntRange(1, MOST_HITS), default=DEFAULT_HITS, show_default=True, help="How many hits.")
@click.option(
    "--where", metavar="FILTER", help="Only items whose attributes pass: 'width >= 1000 and label in (cat, dog)'."
)
@click.option("--space", help="The space to search; the model chooses unless it is given.")
@click.option(
    "--fusion",
    type=click.Choice(["joint", "late"]),
    help="How parts become one vector; the model chooses unless given.",
)
@click.option("--batch", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Queries, one JSON a line.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def query(text: str | None, collection: str, k: int, **options: Any) -> None:
    """Find items by words, pictures, drawings, colours, depth, or all of them at once.

    Files, palettes and keys may end in a weight, as in `--sketch cat.png:0.7`; a negative one pushes away. A file that
    really has such a name wins; write `:1` behind a key that has. All options of one query may be repeated.

    With --batch, each line {"id", "parts": [{"modality", "text" | "file" | "data" | "item", "weight"?}], "k"?,
    "where"?, "fusion"?} is answered by a line {"id", "hits"} or {"id", "error"}, in order; files are relative to the
    batch file.
    """
    parts = _parts(text, options)
    if bool(parts) == bool(options["batch"]):
        raise click.UsageError("say what to look for: words, --image, --sketch, …, or --batch alone")
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
        one = read_input(value, options["text_weight"])
        parts.append(Part(one.modality, one.text, one.file, weight=1.0 if one.weight is None else one.weight))
    for value in options["item"]:
        key, weight = split_weight(value)
        parts.append(Part(item=key, weight=weight))
    return parts


def _answer_batch(path: Path, client: Any, collection: str, defaults: dict[str, Any]) -> None:
    from api.batch import answer_lines

    with path.open("rb") as lines:
        for line in answer_lines(lines, path.parent, client, collection, defaults):
            click.echo(line)


def _as_json(results: Results) -> str:
    return json.dumps(asdict(results))


def as_table(results: Results) -> str:
    """One line a hit: rank, score, key, caption."""
    """Rank, score, key and caption of each hit, a line each."""
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
