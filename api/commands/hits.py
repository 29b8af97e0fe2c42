"""What `anyseek query` does with hits besides printing them: their paths, a contact sheet, opening the best one."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anyseek.api.queries.wire import Results
from anyseek.search.errors import AssetNotFound

if TYPE_CHECKING:
    from PIL import Image

    from anyseek.api.client.client import Client
    from anyseek.api.client.reader import CatalogueReader

_FAILED = 1
_NO_PATH = "they are stored by Anyseek, or the API key has not the scope admin"


def only_collection(client: "Client | CatalogueReader") -> str:
    """The name of the only collection. Raises `UsageError` if there is none, or several to choose from."""
    found = client.collections()
    if len(found) == 1:
        return found[0].name
    if not found:
        raise click.UsageError("there is no collection yet; make one with anyseek index FOLDER --collection NAME")
    listed = ", ".join(f"{held.name} ({held.items:,} items)" for held in found)
    raise click.UsageError(f"there are several collections; choose one with --collection: {listed}")


def echo_paths(paths: Sequence[str | None], what: str, null: bool) -> None:
    """Print each path on a line, or with `null` ended by NUL; `what` has none, such as hits, is counted on stderr."""
    for path in paths:
        if path is not None:
            click.echo(path + ("\0" if null else "\n"), nl=False)
    without = sum(path is None for path in paths)
    if without:
        click.echo(f"{without} of {len(paths)} {what} have no path: {_NO_PATH}", err=True)


def write_sheet(client: "Client", collection: str, results: Results, file: Path) -> None:
    """Write the hits' thumbnails as one picture, in the format of the file's ending.

    Raises `UsageError` for an ending that is not of a picture, a file that cannot be written, or if there is no hit.
    """
    found = [(hit.rank, hit.collection or collection, hit.key) for hit in results.hits]
    write_prints(client, found, file)
    click.echo(f"{file}: {len(results.hits)} hits", err=True)


def write_prints(client: "Client", ranked: Sequence[tuple[int, str, str]], file: Path) -> None:
    """Write thumbnails as `write_sheet` does: of items by a number to show, their collection and their key."""
    from anyseek.model.modalities.rendering.contact_sheet import Print, contact_sheet

    kind = picture_format(file)
    if not ranked:
        raise click.UsageError("nothing was found, so there is no contact sheet to write")
    prints = [Print(rank, key, thumbnail_of(client, collection, key)) for rank, collection, key in ranked]
    sheet = contact_sheet(prints)
    with whole_output(file) as temporary:
        sheet.save(temporary, kind)


def picture_format(file: Path) -> str:
    """The name of the format that the ending of a file stands for. Raises `UsageError` for one of no picture."""
    from PIL import Image

    kind = Image.registered_extensions().get(file.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise click.UsageError(f"{file} has no ending of a picture; use .png or .jpg")
    return kind


@contextmanager
def whole_output(file: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which becomes `file` when the block ends without an error.

    Raises `UsageError` if it cannot be written, naming the file as it was given.
    """
    from anyseek.model.files import whole_file

    try:
        with whole_file(file.absolute()) as temporary:
            yield temporary
    except OSError as error:
        missing = not file.absolute().parent.is_dir()
        reason = f"there is no folder {file.parent}" if missing else error.strerror or str(error)
        raise click.UsageError(f"{file} cannot be written: {reason}") from error


def open_best(results: Results) -> int:
    """Open the best hit's file as the desktop does, and return the exit code."""
    path = results.hits[0].path if results.hits else None
    if path is None:
        click.echo(f"there is no file to open: {_NO_PATH if results.hits else 'nothing was found'}", err=True)
        return _FAILED
    if not Path(path).is_file():
        click.echo(f"{path} is not on this machine, or gone", err=True)
        return _FAILED
    if click.launch(path) != 0:
        click.echo(f"nothing on this machine opens {path}", err=True)
        return _FAILED
    return 0


def thumbnail_of(client: "Client", collection: str, key: str) -> "Image.Image | None":
    """The small picture of an item, None if it has none."""
    from PIL import Image

    from anyseek.api.errors import ApiError

    try:
        return Image.open(io.BytesIO(client.thumbnail(collection, key)))
    except ApiError as error:
        if error.code == AssetNotFound.code:
            return None
        raise
