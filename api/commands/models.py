"""`anyseek models`: which models there are, fetching their weights, and checking them."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.errors import BadInput
from search.settings import read_settings

if TYPE_CHECKING:
    from model.published.store import Record

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def models() -> None:
    """List models, fetch weights and check them."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_models(as_json: bool) -> None:
    """Show each model: whether it is here, its size, licence and fingerprint."""
    from model.installed import list_models
    from model.openclip.files import is_installed

    for row in list_models(read_settings().home):
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(row)))
            continue
        size = "" if row.size is None else f"{row.size / 1e6:.1f} MB"
        print_ = "" if row.fingerprint is None else f"fingerprint {row.fingerprint}"
        line = f"{row.name:46}{row.kind:18}{row.state:15}{size:>12}  {row.licence:16}{print_}"
        click.echo(line.rstrip())
    if is_installed() and not as_json:
        click.echo("openclip:ARCH/PRETRAINED  any open_clip model, fetched by `anyseek models pull`")


@models.command()
@click.argument("name")
@click.option("--from", "source", type=_FOLDER, help="A folder that has the encoders.")
@click.option("--accept-licence", is_flag=True, help="Accept the licence of published weights, for scripts.")
def pull(name: str, source: Path | None, accept_licence: bool) -> None:
    """Fetch what NAME stands for, and check it.

    NAME is a published network such as 4M-21_B, which comes with its tokenizers, or a tokenizer; `encoders`, the two
    networks that the bundled weights look through; or openclip:ARCH/PRETRAINED, such as
    openclip:ViT-B-32/laion2b_s34b_b79k.
    """
    home = read_settings().home
    if source is not None and name != "encoders":
        raise BadInput("--from goes with `encoders`; other weights from a folder are taken by `anyseek models import`")
    if name == "encoders" or name.startswith("openclip:"):
        made = [f"made {path}" for path in _pull_other(name, home, source)]
    else:
        made = _pull_published(name, home, accept_licence)
    for line in made or [f"{name}: all in place already"]:
        click.echo(line)


def _pull_other(name: str, home: Path, source: Path | None) -> list[Path]:
    if name == "encoders":
        from model.hub import pull_encoders

        return pull_encoders(home, source)
    from model.openclip.files import pull_openclip

    return pull_openclip(name, home)


def _pull_published(name: str, home: Path, accept_licence: bool) -> list[str]:
    from model.published.names import VOCABULARY
    from model.published.pull import needed, pull_published

    missing = needed(name, home)
    if set(missing) - {VOCABULARY}:
        _agree_on_licence(home, accept_licence)
    return [_installed(record) for record in pull_published(missing, home, _say)]


def _agree_on_licence(home: Path, accepted: bool) -> None:
    """Ask once, unless the option has answered. Raises `BadInput` where nobody can be asked."""
    from model.published import licence

    if licence.is_accepted(home):
        return
    if not accepted and not sys.stdin.isatty():
        raise BadInput(f"{licence.LICENCE_NOTICE} Nobody is here to accept it: say --accept-licence if you do")
    _say(licence.LICENCE_NOTICE)
    if not accepted and not click.confirm("Do you accept that licence?", err=True):
        raise click.ClickException("the licence was not accepted; nothing was fetched")
    licence.accept(home)


@models.command("import")
@click.argument("folder", type=_FOLDER)
@click.option("--name", help="Which checkpoint FOLDER holds, where it is not called after it.")
def import_(folder: Path, name: str | None) -> None:
    """Install published weights that were fetched elsewhere into FOLDER.

    FOLDER holds folders called as the repositories are (4M-21_B/model.safetensors), the vocabulary, or both; the Hub's
    own cache will do too. They are checked, then copied.
    """
    from model.published.import_folder import import_folder
    from model.published.licence import LICENCE_NOTICE

    records = import_folder(folder, read_settings().home, _say, name)
    _say(LICENCE_NOTICE)
    for record in records:
        click.echo(_installed(record))


@models.command()
@click.argument("name")
def verify(name: str) -> int:
    """Check the files of NAME, load everything and run it; exit code 1 and a list if something is wrong.

    Of a published network its tokenizers and the vocabulary are checked too. This reads every byte and runs the
    networks one after another, so it takes minutes for the larger ones.
    """
    from model.verification import verify_model

    complaints = verify_model(name, read_settings().home, click.echo)
    for complaint in complaints:
        click.echo(complaint)
    return 1 if complaints else 0


def _installed(record: "Record") -> str:
    return f"installed {record.name}  {record.size / 1e6:.1f} MB  fingerprint {record.fingerprint}"


def _say(line: str) -> None:
    click.echo(line, err=True)
