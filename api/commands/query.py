"""`anyseek query`: one query from options, or many from a file."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from anyseek.api.commands.hits import (
    echo_paths,
    explanation_lines,
    facet_line,
    only_collection,
    open_best,
    rank_line,
    write_sheet,
)
from anyseek.api.commands.inputs import (
    finite,
    member_options,
    other_members,
    read_input,
    read_vector,
    split_weight,
    with_classes,
    with_forms,
    with_region,
)
from anyseek.api.commands.output import printable, say
from anyseek.search.answers.results import MAX_EXPLAINED, Explanation, Hit, Results
from anyseek.search.query.query import DEFAULT_HITS, MAX_HITS, WORDS, Part

_SHEET = click.Path(dir_okay=False, writable=True, path_type=Path)
_KEY_WIDTH = 60
# The members of a query whose options are derived from `Query`.
MEMBERS = other_members("parts", "k", "space", "spaces", "facets", "explain", "explain_keys")
_QUERY_MEMBERS = (*MEMBERS, "facets", "spaces")
_FILE_OPTIONS = {"image": "rgb", "sketch": "sketch", "depth": "depth", "semseg": "semseg", "normal": "normal"}


@click.command()
@click.argument("text", required=False)
@click.option(
    "--collection",
    "collections",
    multiple=True,
    help="The collection to search; repeat for several. Not needed if there is only one.",
)
@click.option(
    "--text-weight",
    type=float,
    default=1.0,
    callback=finite,
    help="The weight of the words; a negative one pushes away.",
)
@click.option(
    "--words", multiple=True, metavar="WORDS", help="Words to search for in the text of keys, captions and attributes."
)
@click.option("--image", multiple=True, metavar="FILE", help="A photo or any other picture.")
@click.option("--sketch", multiple=True, metavar="FILE", help="A drawing of any kind.")
@click.option("--palette", multiple=True, metavar="COLOURS", help="One to seven colours: '#ff0000,#ffffff'.")
@click.option("--depth", multiple=True, metavar="FILE", help="A depth map: PNG, TIFF, NPY, NPZ or OpenEXR.")
@click.option("--semseg", multiple=True, metavar="FILE", help="A segmentation: a PNG or NPY of ids, or a coloured PNG.")
@click.option("--normal", multiple=True, metavar="FILE", help="Surface normals as a PNG or NPY.")
@click.option(
    "--input", "inputs", multiple=True, metavar="MODALITY=FILE", help="Any other modality, such as boxes=b.json."
)
@click.option(
    "--form",
    "forms",
    multiple=True,
    metavar="MODALITY=FORM",
    help="What a map's numbers mean, where the guess is wrong, such as depth=near-bright.",
)
@click.option(
    "--box",
    nargs=4,
    type=click.FloatRange(0, 1),
    metavar="LEFT TOP RIGHT BOTTOM",
    help="With --image, or else with --item: the region that counts, as fractions of width and height.",
)
@click.option(
    "--mask",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead of --box: a PNG of numbers or NPY as large as the picture; pixels other than 0 count.",
)
@click.option(
    "--classes",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='With --semseg: a JSON file that names ids or colours, such as {"#87ceeb": "sky"}.',
)
@click.option("--item", multiple=True, metavar="KEY", help="The key of an item of the collection: find more like it.")
@click.option(
    "--vector", multiple=True, metavar="FILE", help="An item's vector in --space, as NPY or JSON: find more like it."
)
@click.option(
    "-k", type=click.IntRange(1, MAX_HITS), default=DEFAULT_HITS, show_default=True, help="The number of hits."
)
@member_options(MEMBERS)
@click.option("--facet", "facets", multiple=True, metavar="ATTRIBUTE", help="Also count the values of this attribute.")
@click.option("--space", "spaces", multiple=True, help="The space to search; by default the model chooses.")
@click.option(
    "--batch",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of queries, one JSON object per line.",
)
@click.option("--explain", is_flag=True, help="Explain each hit: what each part adds, and words in common.")
@click.option("--explain-key", multiple=True, metavar="KEY", help="Explain this item, whether it is a hit or not.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
@click.option("--paths", is_flag=True, help="Print only the paths of the hits' files, one per line.")
@click.option("-0", "--null", is_flag=True, help="With --paths: end each path with NUL instead of a line end.")
@click.option("--contact-sheet", type=_SHEET, metavar="FILE", help="Also write the hits as a picture: out.png.")
@click.option("--open", "opens", is_flag=True, help="Also open the best hit's file with its default program.")
def query(text: str | None, collections: tuple[str, ...], k: int, **options: Any) -> int:
    """Find items by words, pictures, drawings, colours, depth, or all of them at once.

    A file, palette or key may end in a weight, as in `--sketch cat.png:0.7`; a negative weight pushes away. If a file
    really has such a name, the file wins; write `:1` after a key that ends like a weight. All options of a query may be
    repeated.

    With --batch, each line {"id", "parts": [{"modality", "text" | "file" | "data" | "item", "weight"?}], "k"?,
    "where"?, …} is answered by a line {"id", "hits"} or {"id", "error"}, in order. Files are relative to the
    batch file.

    `--paths -0 | xargs -0 COMMAND` hands the files of the hits to a command. Exits with 1 if --open finds no file.
    """
    parts = with_classes(with_forms(_parts(text, options), options["forms"]), options["classes"])
    parts = with_region(parts, options["box"], options["mask"])
    _check_options(parts, options)
    if options["batch"] and len(collections) > 1:
        raise click.UsageError("--batch searches one collection; give --collection once")
    members = {name: options[name] for name in _QUERY_MEMBERS if _is_set(options[name])}
    if len(options["spaces"]) == 1:
        members = {name: value for name, value in members.items() if name != "spaces"} | {"space": options["spaces"][0]}
    from anyseek.api.client.connect import connect

    with connect() as client:
        collection = collections[0] if collections else only_collection(client)
        if options["batch"]:
            _answer_batch(options["batch"], client, collection, {"k": k, **members})
            return 0
        target = collections if len(collections) > 1 else collection
        results = client.query(target, parts, k, **members, **_explain_members(k, options))
        if options["contact_sheet"]:
            entries = [(hit.rank, hit.collection or collection, hit.key) for hit in results.hits]
            write_sheet(client, entries, "hits", options["contact_sheet"])
    _echo(results, options)
    return open_best(results) if options["opens"] else 0


def _is_set(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def _check_options(parts: list[Part], options: dict[str, Any]) -> None:
    """Raises `UsageError` for options that cannot be combined."""
    if bool(parts) == bool(options["batch"]):
        raise click.UsageError("give something to search for: words, --image, --sketch, …, or --batch alone")
    if options["batch"] and (options["paths"] or options["contact_sheet"] or options["opens"]):
        raise click.UsageError("--paths, --contact-sheet and --open are for one query, not for --batch")
    if options["paths"] and options["as_json"]:
        raise click.UsageError("give --paths or --json; the JSON has the paths too")
    if options["vectors"] and (options["batch"] or not options["as_json"]):
        raise click.UsageError("--vectors is for --json, and not for --batch")
    if options["facets"] and (options["batch"] or options["paths"]):
        raise click.UsageError("--facet is for one query that prints its hits, not for --batch or --paths")
    if options["batch"] and (options["cursor"] or options["explain"] or options["explain_key"]):
        raise click.UsageError("--cursor, --explain and --explain-key are for one query, not for --batch")
    if options["paths"] and (options["explain"] or options["explain_key"]):
        raise click.UsageError("--paths prints paths alone; leave out --explain and --explain-key")
    if options["null"] and not options["paths"]:
        raise click.UsageError("-0 is for --paths")


def _explain_members(k: int, options: dict[str, Any]) -> dict[str, Any]:
    """The query members `explain` and `explain_keys`, together for at most `MAX_EXPLAINED` items."""
    keys = options["explain_key"]
    hits = max(0, min(k, MAX_EXPLAINED - len(keys))) if options["explain"] else 0
    return ({"explain": hits} if hits else {}) | ({"explain_keys": keys} if keys else {})


def _echo(results: Results, options: dict[str, Any]) -> None:
    if options["as_json"]:
        say(_as_json(results))
        return
    for interpretation in results.understood:
        say(interpretation.sentence, err=True)
    if results.note:
        say(results.note, err=True)
    if options["paths"]:
        echo_paths([hit.path for hit in results.hits], "hits", options["null"])
    else:
        say(*as_table(results, max_characters=_KEY_WIDTH if sys.stdout.isatty() else None))
        for facet in results.facets:
            say(facet_line(asdict(facet)))
        _echo_other_items(results)


def _echo_other_items(results: Results) -> None:
    """Print the explanations of items that are not among the hits."""
    hit_keys = {hit.key for hit in results.hits}
    for explanation in results.explanations:
        if explanation.key not in hit_keys:
            say(rank_line(explanation), *_indented_explanation(explanation))


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
        parsed = read_input(value, options["text_weight"])
        weight = 1.0 if parsed.weight is None else parsed.weight
        parts.append(Part(parsed.modality, text=parsed.text, file=parsed.file, weight=weight))
    for value in options["item"]:
        key, weight = split_weight(value)
        parts.append(Part(item=key, weight=weight))
    for value in options["vector"]:
        name, weight = (value, 1.0) if Path(value).exists() else split_weight(value)
        parts.append(Part(vector=read_vector(Path(name)), weight=weight))
    return parts


def _answer_batch(path: Path, client: Any, collection: str, defaults: dict[str, Any]) -> None:
    from anyseek.api.queries.batch_file import answer_lines

    with path.open("rb") as lines:
        for line in answer_lines(lines, path.parent, client, collection, defaults):
            say(line)


def _as_json(results: Results) -> str:
    return json.dumps(asdict(results))


def as_table(results: Results, max_characters: int | None = None) -> list[str]:
    """One line per hit: rank, score, probability, key, caption or title, and path; then the lines of its explanation.

    Keys longer than `max_characters` keep their end.
    """
    if not results.hits:
        return ["nothing was found: the collection has no hit for this query and its options"]
    keys = [_truncated_key(printable(hit.key), max_characters) for hit in results.hits]
    width = min(max(map(len, keys)), _KEY_WIDTH)
    explanation_by_key = {explanation.key: explanation for explanation in results.explanations}
    rows = []
    for key, hit in zip(keys, results.hits, strict=True):
        rows.append(
            "  ".join(
                (f"{hit.rank:>4}", f"{hit.score:6.3f}", _probability_text(hit), f"{key:<{width}}", *_details(hit))
            )
        )
        rows += _indented_explanation(explanation_by_key[hit.key]) if hit.key in explanation_by_key else []
    return [row.rstrip() for row in rows]


def _indented_explanation(explanation: Explanation) -> list[str]:
    return [f"{' ' * 14}{line}" for line in explanation_lines(explanation)]


def _probability_text(hit: Hit) -> str:
    return "   -" if hit.probability is None else f"{hit.probability:4.0%}"


def _details(hit: Hit) -> list[str]:
    group = None if hit.group is None else f"[{hit.group}]"
    return [text for text in (group, hit.collection, _title(hit), hit.path) if text]


def _title(hit: Hit) -> str:
    """The caption, or else the attribute `title` if it is a text."""
    title = hit.caption or hit.attributes.get("title")
    return title if isinstance(title, str) else ""


def _truncated_key(key: str, max_characters: int | None) -> str:
    """The key, cut at its start to `max_characters`: many keys share their beginning."""
    if max_characters is None or len(key) <= max_characters:
        return key
    return f"\N{HORIZONTAL ELLIPSIS}{key[1 - max_characters :]}"
