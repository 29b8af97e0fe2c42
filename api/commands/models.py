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
    from model.embedder import ModelError, known_models, load_embedder
    from model.openclip.files import is_installed

    home = read_settings().home
    for name in known_models(home):
        try:
            embedder = load_embedder(name, home)
        except ModelError as error:
            click.echo(f"{name}  not ready: {error}")
        else:
            click.echo(f"{name}  takes {', '.join(sorted(embedder.modalities))}  fingerprint {embedder.fingerprint}")
    if is_installed():
        click.echo("openclip:ARCH/PRETRAINED  any open_clip model, fetched by `anyseek models pull`")


@models.command()
@click.argument("name")
@click.option("--from", "source", type=click.Path(exists=True, path_type=Path), help="A folder that has the encoders.")
def pull(name: str, source: Path | None) -> None:
    """Fetch what NAME stands for, and check it.

    `encoders` are the two networks that the bundled weights look through. `openclip:ARCH/PRETRAINED` is a published
    open_clip model, such as openclip:ViT-B-32/laion2b_s34b_b79k.
    """
    made = _pull(name, read_settings().home, source)
    for path in made:
        click.echo(f"made {path}")
    if not made:
        click.echo(f"{name}: all in place already")


def _pull(name: str, home: Path, source: Path | None) -> list[Path]:
    if name == "encoders":
        from model.hub import pull_encoders

        return pull_encoders(home, source)
    if not name.startswith("openclip:") or source is not None:
        raise click.UsageError("NAME is `encoders`, with or without --from, or openclip:ARCH/PRETRAINED")
    from model.openclip.files import pull_openclip

    return pull_openclip(name, home)
