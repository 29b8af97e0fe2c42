"""`anyseek query`: one query from options, or many from a file."""

import json
import sys
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from api.commands.hits import echo_paths, only_collection, open_best, write_sheet
from api.commands.inputs import finite, read_input, read_vector, split_weight
from api.queries.wire import DEFAULT_HITS, MOST_HITS, WORDS, Hit, Part, Results

_SHEET = click.Path(dir_okay=False, writable=True, path_type=Path)
_KEY_WIDTH = 60
# Members of a query that options are named by.
_HOW = ("space", "where", "fusion", "offset", "min_score", "vectors", "group_by", "group_size")
_FILE_OPTIONS = {"image": "rgb", "sketch": "sketch", "depth": "depth", "semseg": "semseg", "normal": "normal"}


@click.command()
@click.argument("text", required=False)
@click.option("--collection", help="The collection to search; not needed if there is only one.")
@click.option(
    "--text-weight",
    type=float,
    default=1.0,
    callback=finite,
    help="The weight of the words; a negative one pushes away.",
)
@click.option(
    "--words", multiple=True, metavar="WORDS", help="Words to find in keys, captions and attributes themselves."
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
    "--vector", multiple=True, metavar="FILE", help="An item's vector in --space, as NPY or JSON: find more like it."
)
@click.option(
    "-k", type=click.IntRange(1, MOST_HITS), default=DEFAULT_HITS, show_default=True, help="The number of hits."
)
@click.option("--offset", type=click.IntRange(0, MOST_HITS - 1), default=0, help="Leave out so many of the best hits.")
@click.option(
    "--min-score", type=click.FloatRange(-1, 1), callback=finite, help="Leave out hits whose score is lower: -1 to 1."
)
@click.option(
    "--group-by",
    metavar="ATTRIBUTE",
    help="The best hit of each value of an attribute, such as album; -k counts values.",
)
@click.option("--group-size", type=click.IntRange(1, MOST_HITS), help="With --group-by: so many hits of each value.")
@click.option(
    "--where", metavar="FILTER", help="Only items whose attributes pass: 'width >= 1000 and label in (cat, dog)'."
)
@click.option("--space", help="The space to search; by default the model chooses.")
@click.option(
    "--fusion",
    type=click.Choice(["joint", "late", "ranks"]),
    help="How several parts become one query; by default the model chooses.",
)
@click.option(
    "--batch",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of queries, one JSON object per line.",
)
@click.option("--vectors", is_flag=True, help="With --json: give each hit's vector, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
@click.option("--paths", is_flag=True, help="Print the paths of the hits' files alone, one a line.")
@click.option("-0", "--null", is_flag=True, help="With --paths: end each path with NUL instead of a line end.")
@click.option("--contact-sheet", type=_SHEET, metavar="FILE", help="Also write the hits as a picture: out.png.")
@click.option("--open", "opens", is_flag=True, help="Also open the best hit's file as the desktop does.")
def query(text: str | None, collection: str | None, k: int, **options: Any) -> int:
    """Find items by words, pictures, drawings, colours, depth, or all of them at once.

    A file, palette or key may end in a weight, as in `--sketch cat.png:0.7`; a negative weight pushes away. If a file
    really has such a name, the file wins; write `:1` after a key that ends like a weight. All options of a query may be
    repeated.

    With --batch, each line {"id", "parts": [{"modality", "text" | "file" | "data" | "item", "weight"?}], "k"?,
    "where"?, …} is answered by a line {"id", "hits"} or {"id", "error"}, in order. Files are relative to the
    batch file.

    `--paths -0 | xargs -0 COMMAND` hands the files of the hits to a command. Exits with 1 if --open finds no file.
    """
    parts = _parts(text, options)
    _check_options(parts, options)
    how = {name: options[name] for name in _HOW if options[name] is not None and options[name] is not False}
    from api.connect import connect

    with connect() as client:
        collection = collection or only_collection(client)
        if options["batch"]:
            _answer_batch(options["batch"], client, collection, {"k": k, **how})
            return 0
        results = client.query(collection, parts, k, **how)
        if options["contact_sheet"]:
            write_sheet(client, collection, results, options["contact_sheet"])
    _echo(results, options)
    return open_best(results) if options["opens"] else 0


def _check_options(parts: list[Part], options: dict[str, Any]) -> None:
    """Raises `UsageError` for options that do not belong together."""
    if bool(parts) == bool(options["batch"]):
        raise click.UsageError("give something to look for: words, --image, --sketch, …, or --batch alone")
    if options["batch"] and (options["paths"] or options["contact_sheet"] or options["opens"]):
        raise click.UsageError("--paths, --contact-sheet and --open are for one query, not for --batch")
    if options["paths"] and options["as_json"]:
        raise click.UsageError("give --paths or --json; the JSON has the paths too")
    if options["vectors"] and (options["batch"] or not options["as_json"]):
        raise click.UsageError("--vectors is for --json, and not for --batch")
    if options["null"] and not options["paths"]:
        raise click.UsageError("-0 is for --paths")


def _echo(results: Results, options: dict[str, Any]) -> None:
    if options["as_json"]:
        click.echo(_as_json(results))
        return
    if results.note:
        click.echo(results.note, err=True)
    if options["paths"]:
        echo_paths(results, "\0" if options["null"] else "\n")
    else:
        click.echo(as_table(results, most=_KEY_WIDTH if sys.stdout.isatty() else None))


def _parts(text: str | None, options: dict[str, Any]) -> list[Part]:
    parts = [Part("caption", text=text, weight=options["text_weight"])] if text is not None else []
    for value in options["words"]:
        words, weight = split_weight(value)
        parts.append(Part(WORDS, text=words, weight=weight))
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
    for value in options["vector"]:
        name, weight = (value, 1.0) if Path(value).exists() else split_weight(value)
        parts.append(Part(vector=read_vector(Path(name)), weight=weight))
    return parts


def _answer_batch(path: Path, client: Any, collection: str, defaults: dict[str, Any]) -> None:
    from api.queries.batch_file import answer_lines

    with path.open("rb") as lines:
        for line in answer_lines(lines, path.parent, client, collection, defaults):
            click.echo(line)


def _as_json(results: Results) -> str:
    return json.dumps(asdict(results))


def as_table(results: Results, most: int | None = None) -> str:
    """One line for each hit: rank, score, key, caption or title, path. Keys beyond `most` characters keep their end."""
    if not results.hits:
        return "nothing was found: the collection has no hit for this query and its options"
    keys = [_shortened(_printable(hit.key), most) for hit in results.hits]
    width = min(max(map(len, keys)), _KEY_WIDTH)
    rows = [
        "  ".join((f"{hit.rank:>4}", f"{hit.score:6.3f}", f"{key:<{width}}", *_told(hit)))
        for key, hit in zip(keys, results.hits, strict=True)
    ]
    return "\n".join(row.rstrip() for row in rows)


def _told(hit: Hit) -> list[str]:
    group = None if hit.group is None else f"[{hit.group}]"
    return [_printable(text) for text in (group, _title(hit), hit.path) if text]


def _title(hit: Hit) -> str:
    """The caption, or else the attribute `title` if it is a text."""
    title = hit.caption or hit.attributes.get("title")
    return title if isinstance(title, str) else ""


def _shortened(key: str, most: int | None) -> str:
    """The end of a key tells more than its beginning, which many share."""
    return key if most is None or len(key) <= most else f"\N{HORIZONTAL ELLIPSIS}{key[1 - most :]}"


def _printable(text: str) -> str:
    """`text` without what could move the cursor or colour the terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign)[0] == "C" else sign for sign in text)
