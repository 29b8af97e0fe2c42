"""Output of items and hits: lines, paths, contact sheets, and opening the best hit."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anyseek.api.commands.output import say, write_path
from anyseek.search.answers.results import Explanation, PartShare, Results, SharedCodes
from anyseek.search.errors import AssetNotFound

if TYPE_CHECKING:
    from PIL import Image
    from pydantic import BaseModel

    from anyseek.api.client.client import Client
    from anyseek.api.client.reader import CatalogueReader

_FAILED = 1
_NO_PATH = "they are stored by Anyseek, or the API key does not have the scope admin"
_SHOWN_VALUES = 10
_MAX_NAME_LENGTH = 40


def only_collection(client: "Client | CatalogueReader") -> str:
    """The name of the only collection. Raises `UsageError` if there is none, or more than one."""
    collections = client.collections()
    if len(collections) == 1:
        return collections[0].name
    if not collections:
        raise click.UsageError("there is no collection yet; make one with anyseek index FOLDER --collection NAME")
    names = ", ".join(f"{collection.name} ({collection.items:,} items)" for collection in collections)
    raise click.UsageError(f"there are several collections; choose one with --collection: {names}")


def json_line(answer: "BaseModel") -> str:
    """An answer of the service as one line of JSON."""
    return json.dumps(answer.model_dump(mode="json"))


def echo_paths(paths: Sequence[str | None], what: str, null: bool) -> None:
    """Print each path, ended by a newline or with `null` by NUL; count the `what`, such as hits, without one."""
    for path in paths:
        if path is not None:
            write_path(path, null)
    missing_count = sum(path is None for path in paths)
    if missing_count:
        say(f"{missing_count} of {len(paths)} {what} have no path: {_NO_PATH}", err=True)


def write_sheet(client: "Client", entries: Sequence[tuple[int, str, str]], what: str, file: Path) -> None:
    """Write the thumbnails of (number, collection, key) entries as one picture, in the format of the file's suffix.

    Raises `UsageError` if the suffix is no picture format, the file cannot be written, or there are no entries.
    """
    from PIL import Image

    from anyseek.model.files import atomic_file
    from anyseek.model.modalities.rendering.panels import Print, contact_sheet

    picture_format = Image.registered_extensions().get(file.suffix.lower())
    if picture_format is None or picture_format not in Image.SAVE:
        raise click.UsageError(f"{file} does not end in a picture format; use .png or .jpg")
    if not entries:
        raise click.UsageError("nothing was found, so there is no contact sheet to write")
    sheet = contact_sheet([Print(rank, key, _thumbnail(client, collection, key)) for rank, collection, key in entries])
    try:
        with atomic_file(file.absolute()) as temporary:
            sheet.save(temporary, picture_format)
    except OSError as error:
        missing = not file.absolute().parent.is_dir()
        reason = f"there is no folder {file.parent}" if missing else error.strerror or str(error)
        raise click.UsageError(f"{file} cannot be written: {reason}") from error
    say(f"{file}: {len(entries)} {what}", err=True)


def _thumbnail(client: "Client", collection: str, key: str) -> "Image.Image | None":
    """The thumbnail of an item; None if it has none."""
    from PIL import Image

    from anyseek.api.errors import ApiError

    try:
        return Image.open(io.BytesIO(client.thumbnail(collection, key)))
    except ApiError as error:
        if error.code == AssetNotFound.code:
            return None
        raise


def open_best(results: Results) -> int:
    """Open the best hit's file with its default program, and return the exit code."""
    path = results.hits[0].path if results.hits else None
    if path is None:
        say(f"there is no file to open: {_NO_PATH if results.hits else 'nothing was found'}", err=True)
        return _FAILED
    if not Path(path).is_file():
        say(f"{path} does not exist on this machine", err=True)
        return _FAILED
    if click.launch(path) != 0:
        say(f"no program on this machine opens {path}", err=True)
        return _FAILED
    return 0


def facet_line(facet: Mapping[str, Any]) -> str:
    """A facet, given by its JSON members, as `label (9 items): cat 5, dog 4, … 12 more; 3 to 8`."""
    counts = [(count["value"], count["items"]) for count in facet["values"][:_SHOWN_VALUES]]
    texts = [f"{value if isinstance(value, str) else str(value).lower()} {n:,}" for value, n in counts]
    further = max(facet["distinct"], len(facet["values"])) - len(texts)
    if further > 0:
        texts.append(f"\N{HORIZONTAL ELLIPSIS} {further:,} more")
    bounds = [(facet["least"], facet["most"]), (facet["first"], facet["last"])]
    ranges = [f"{low} to {high}" for low, high in bounds if low is not None]
    summary = "; ".join([", ".join(texts), *ranges] if texts else ranges)
    return f"{facet['field']} ({facet['items']:,} items)" + (f": {summary}" if summary else "")


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """Lines for each part: its rank alone, what it adds, and the words in common; then lines for all parts together."""
    for part in explanation.parts:
        yield f"{_part_name(part)}: {'; '.join(_share_texts(part, explanation.depth))}"
        if part.codes is not None:
            yield f"  {_codes_text(part.codes)}"
        if part.names:
            yield f"  the model sees in both: {', '.join(part.names)}"
        if part.words:
            words = [f"{shared.word} ({', '.join(shared.fields)})" for shared in part.words]
            yield f"  in common: {', '.join(words)}"
    if explanation.names:
        yield f"the model sees in it: {', '.join(explanation.names)}"
    if explanation.codes is not None:
        yield f"all together: {_codes_text(explanation.codes)}"
    if explanation.rankings:
        shares = [
            f"{ranking.share:+.3f} by {ranking.space or 'words'} ({_rank_text(ranking.rank, explanation.depth)})"
            for ranking in explanation.rankings
        ]
        yield f"the score is the sum of {', '.join(shares)}"


def rank_line(explanation: Explanation) -> str:
    """The item's key with its score and its rank among all items."""
    return f"{explanation.key}: {explanation.score:.3f}, {_rank_text(explanation.rank, explanation.depth)}"


def _part_name(part: PartShare) -> str:
    weight = "" if part.weight == 1 else f" (weight {part.weight:g})"
    if part.item is not None:
        return f"item {part.item}{weight}"
    if part.text is None:
        return f"{part.modality or 'vector'}{weight}"
    text = (
        part.text
        if len(part.text) <= _MAX_NAME_LENGTH
        else f"{part.text[: _MAX_NAME_LENGTH - 1]}\N{HORIZONTAL ELLIPSIS}"
    )
    return f'{part.modality} "{text}"{weight}'


def _share_texts(part: PartShare, depth: int) -> Iterator[str]:
    if part.similarity is not None:
        yield f"similarity {part.similarity:.3f} in {part.space}, alone {_rank_text(part.rank, depth)}"
    elif part.rank is None:
        yield "none of the words"
    else:
        yield f"alone {_rank_text(part.rank, depth)}"
    if part.contribution is not None and part.score_without is not None:
        score_without = f"{part.score_without:.3f} and {_rank_text(part.rank_without, depth)}"
        yield f"adds {part.contribution:+.3f} (without it {score_without})"


def _rank_text(rank: int | None, depth: int) -> str:
    return f"rank {rank:,}" if rank is not None else f"not among the first {depth:,}"


def _codes_text(codes: SharedCodes) -> str:
    summary = f"{len(codes.agree)} of {codes.of} codes agree"
    if codes.choices is None or codes.likelier is None:
        return summary
    return (
        f"{summary}; the item's are {codes.likelier:.1f} times as likely as by chance, and the model wavers between "
        f"{codes.choices:.0f} of {codes.count:,}"
    )
