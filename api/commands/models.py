"""`anyseek models`: which models there are, and fetching what they need."""

from pathlib import Path

import click

from search.settings import read_settings


@click.group()
def models() -> None:
    """List models and fetch weights."""


@models.command("list")
def list_models() -> None:
    """Show each model with its fingerprint, or what it lacks."""
    from model.embedder import KNOWN_MODELS, ModelError, load_embedder

    home = read_settings().home
    for name in KNOWN_MODELS:
        try:
            embedder = load_embedder(name, home)
        except ModelError as error:
            click.echo(f"{name}  not ready: {error}")
        else:
            click.echo(f"{name}  takes {', '.join(sorted(embedder.modalities))}  fingerprint {embedder.fingerprint}")


@models.command()
@click.argument("what", type=click.Choice(["encoders"]))
@click.option("--from", "source", type=click.Path(exists=True, path_type=Path), help="A folder that has the files.")
def pull(what: str, source: Path | None) -> None:
    """Fetch the specialist encoders that the bundled weights stand on, and check them."""
    from model.hub import pull_encoders

    made = pull_encoders(read_settings().home, source)
    for path in made:
        click.echo(f"made {path}")
    if not made:
        click.echo("the encoders are in place already")
