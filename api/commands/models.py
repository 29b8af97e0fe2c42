"""`anyseek models`: lists and recommends models, fetches their weights, adapts and checks them."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anyseek.api.commands.output import say
from anyseek.search.errors import BadInput
from anyseek.search.settings import read_settings

if TYPE_CHECKING:
    from anyseek.model.fourm.published.store import Record

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, path_type=Path)


@click.group()
def models() -> None:
    """List models, fetch weights, adapt and check them."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_models(as_json: bool) -> None:
    """List every model: whether it is installed, its size, licence and fingerprint."""
    from anyseek.model.openclip.files import is_installed
    from anyseek.model.registry.installed import list_models

    for row in list_models(read_settings().home):
        if as_json:
            say(json.dumps(dataclasses.asdict(row)))
            continue
        size = "" if row.size is None else f"{row.size / 1e6:.1f} MB"
        fingerprint = "" if row.fingerprint is None else f"fingerprint {row.fingerprint}"
        line = f"{row.name:46}{row.kind:18}{row.state:15}{size:>12}  {row.licence:16}{fingerprint}"
        say(line.rstrip())
    if is_installed() and not as_json:
        say("openclip:ARCH/PRETRAINED  any open_clip model, fetched by `anyseek models pull`")


@models.command()
@click.argument("name")
@click.option("--from", "source", type=_FOLDER, help="Take `encoders` or `languages` from this folder.")
@click.option("--accept-licence", is_flag=True, help="Accept the licence of published weights without being asked.")
def pull(name: str, source: Path | None, accept_licence: bool) -> None:
    """Fetch the weights that NAME stands for, and check them.

    NAME is a published network such as 4M-21_B, which comes with its tokenizers, or a tokenizer; `encoders`, the two
    encoders that the bundled weights need; `languages`, an encoder with which these read about 100 languages;
    openclip:ARCH/PRETRAINED, such as openclip:ViT-B-16/datacomp_xl_s13b_b90k; or `photos`, the open_clip model that is
    recommended for photo libraries.
    """
    from anyseek.model.openclip.files import ALIASES
    from anyseek.model.registry.installed import ENCODER_SETS

    home = read_settings().home
    if source is not None and name not in ENCODER_SETS:
        raise BadInput("--from works only for `encoders` and `languages`")
    if name in ENCODER_SETS:
        from anyseek.model.encoders.pull import encoder_set, pull_encoders

        lines = [f"made {path}" for path in pull_encoders(home, source, encoder_set(name))]
    elif name in ALIASES or name.startswith("openclip:"):
        from anyseek.model.openclip.pull import pull_openclip

        lines = [f"made {path}" for path in pull_openclip(name, home)]
    else:
        from anyseek.model.fourm.published.names import VOCABULARY
        from anyseek.model.fourm.published.pull import needed, pull_published

        missing = needed(name, home)
        if set(missing) - {VOCABULARY}:
            _ensure_licence_accepted(home, accept_licence)
        lines = [_installed_line(record) for record in pull_published(missing, home, _say)]
    for line in lines or [f"{name}: all in place already"]:
        say(line)


def _ensure_licence_accepted(home: Path, accepted: bool) -> None:
    """Ask once, unless the option has `accepted`. Raises `BadInput` if stdin is not a terminal."""
    from anyseek.model.fourm.published import store

    if store.is_licence_accepted(home):
        return
    if not accepted and not sys.stdin.isatty():
        raise BadInput(
            f"{store.LICENCE_NOTICE} This is not a terminal, so nobody can be asked; pass --accept-licence "
            "if you accept it"
        )
    _say(store.LICENCE_NOTICE)
    if not accepted and not click.confirm("Do you accept that licence?", err=True):
        raise click.ClickException("the licence was not accepted; nothing was fetched")
    store.accept_licence(home)


@models.command()
@click.argument("name")
@click.option("--data", "paths", multiple=True, type=_EXISTING, help="Also fit to this data; may be repeated.")
@click.option("--as", "bridge", metavar="NAME", help="The name of the new model: bridge:NAME.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1_000,
    show_default=True,
    help="Use at most this many samples of a source.",
)
@click.option("--plain", is_flag=True, help="Only render maps and drawings; fit nothing.")
@click.option("--replace", is_flag=True, help="Replace an existing model of that name.")
def adapt(name: str, paths: tuple[Path, ...], bridge: str | None, limit: int, plain: bool, replace: bool) -> None:
    """Let the open_clip model NAME take every modality: make bridge:NAME.

    NAME is openclip:ARCH/PRETRAINED, openclip:local-dir:/PATH or `photos`. Maps and drawings are rendered and go
    through its image tower; means and small maps are fitted to the rooms and emoji that come with Anyseek, and to
    --data: a recipe of `anyseek data build`, a data set made by it, a folder of packs, or a folder of aligned
    modalities (rgb/KEY.jpg, depth/KEY.png, caption/KEY.txt and so on). The table shows how often a photo is among the
    first ten hits, on sources that were left out of the fit.
    """
    from anyseek.model.bridges.files import PREFIX, default_name
    from anyseek.model.openclip.files import full_name
    from anyseek.model.training.bridges.adapt import BridgeRequest, trial_lines
    from anyseek.model.training.bridges.adapt import adapt as make_bridge

    if plain and paths:
        raise BadInput("--plain fits nothing, so it cannot be combined with --data")
    bridge_name = default_name(name) if bridge is None else PREFIX + bridge.removeprefix(PREFIX)
    request = BridgeRequest(bridge_name, full_name(name), paths, limit, plain, replace)
    record, fit = make_bridge(request, read_settings().home, _say)
    for line in trial_lines(fit):
        say(line)
    say(f"made {bridge_name}  takes {', '.join(sorted(record.weights))}  fingerprint {record.fingerprint}")


@models.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def recommend(as_json: bool) -> None:
    """Recommend a model for each kind of pictures, with the commands that are left to run for it."""
    from anyseek.model.registry.installed import recommendations

    for row in recommendations(read_settings().home):
        if as_json:
            say(json.dumps(dataclasses.asdict(row)))
            continue
        state = "ready" if row.installed else "to be installed"
        say(f"{row.purpose}: {row.model} ({row.licence}; {state})")
        for command in row.commands:
            say(f"    {command}")


@models.command()
@click.argument("name")
def verify(name: str) -> int:
    """Check the files of NAME, load everything and run it. Exits with 1 and a list if something is wrong.

    For a published network, its tokenizers and the vocabulary are checked too. The command reads every byte, so larger
    ones take minutes.
    """
    from anyseek.model.registry.verification import verify_model

    settings = read_settings()
    problems = verify_model(name, settings.home, say, settings.device)
    for problem in problems:
        say(problem)
    return 1 if problems else 0


def _installed_line(record: "Record") -> str:
    return f"installed {record.name}  {record.size / 1e6:.1f} MB  fingerprint {record.fingerprint}"


def _say(line: str) -> None:
    say(line, err=True)
