"""`anyseek demo`: the demo galleries, some queries and the service, in one command that is safe to run again."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
from PIL import Image

from anyseek.api.client.connect import recorded_url
from anyseek.api.commands.index import DONE, index_folder
from anyseek.api.commands.query import as_table
from anyseek.api.commands.serve import serve
from anyseek.api.queries.answering import read_query
from anyseek.api.queries.wire import Part, Query, query_json
from anyseek.indexer.demo_gallery import write_gallery, write_photos, write_rooms
from anyseek.indexer.paths import to_uri
from anyseek.model.galleries.openmoji import (
    ATTRIBUTION,
    Drawings,
    Rendering,
    fetch_wheel,
    render_png,
)
from anyseek.model.galleries.photos import CREDITS, Photo, read_photos
from anyseek.model.modalities.edge_detection import canny
from anyseek.search.catalogue import collections, items
from anyseek.search.errors import CollectionNotFound
from anyseek.search.settings import DEFAULT_MODEL, Settings, read_settings
from anyseek.search.types import Collection
from anyseek.workers.runtime import Runtime

OPENMOJI, ROOMS, PHOTOS = "openmoji", "rooms", "photos"
_ROOM = "test-00014"  # an orange desk, two easy chairs and a red desk lamp
_PHOTO = "fsa-colour/2017877600"  # a truck that carries logs
_BLUR, _QUIET = 1.2, 0.92  # of its edges
_SHOWN_HITS = 3
_DRAWN = "1F431"  # cat face
_ROOMS_ATTRIBUTION = "Rooms: rendered from furniture models under CC0 and CC BY 3.0; their makers: {}"
_PHOTOS_ATTRIBUTION = "Photos: agencies of the United States government, public domain; their titles: {}"


@dataclass(frozen=True)
class Example:
    """A query of a collection, as a command line and as parts."""

    collection: str
    options: str
    parts: tuple[Part, ...]

    def asks_only(self, modalities: Container[str]) -> bool:
        return all(part.modality in modalities for part in self.parts)


def examples(drawing: Path, edges: Path, rooms: Path) -> list[Example]:
    """Return all examples: `drawing` has a cat's lines, `edges` those of a photo; `rooms` is the gallery's folder."""
    depth, normal = (rooms / modality / f"{_ROOM}.png" for modality in ("depth", "normal"))
    boxes = rooms / "bounding_boxes" / f"{_ROOM}.json"
    dark = '{"brightness": 40}'
    return [
        Example(OPENMOJI, '"a slice of pizza"', (Part("caption", text="a slice of pizza"),)),
        Example(OPENMOJI, f"--sketch {drawing}", (Part("canny_edge", file=drawing),)),
        Example(
            OPENMOJI,
            "heart --palette '#92d3f5'",
            (Part("caption", text="heart"), Part("color_palette", text="#92d3f5")),
        ),
        Example(ROOMS, '"an orange dog"', (Part("caption", text="an orange dog"),)),
        Example(ROOMS, "bed --palette '#2f5fb0'", (Part("caption", text="bed"), Part("color_palette", text="#2f5fb0"))),
        Example(ROOMS, f"--depth {depth}", (Part("depth", file=depth),)),
        Example(ROOMS, f"--normal {normal}", (Part("normal", file=normal),)),
        Example(ROOMS, f"--input boxes={boxes}", (Part("bounding_boxes", file=boxes),)),
        Example(
            ROOMS, f"'a desk' --input 'metadata={dark}'", (Part("caption", text="a desk"), Part("metadata", text=dark))
        ),
        Example(PHOTOS, '"an airplane"', (Part("caption", text="an airplane"),)),
        Example(PHOTOS, '"a field of flowers"', (Part("caption", text="a field of flowers"),)),
        Example(PHOTOS, f"--sketch {edges}", (Part("canny_edge", file=edges),)),
    ]


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="The port to listen on; 0 picks a free one.",
)
@click.option("--serve/--no-serve", "serves", default=True, help="Keep serving the page after the examples.")
@click.option(
    "--model", default=DEFAULT_MODEL, show_default=True, envvar="ANYSEEK_MODEL", help="See `anyseek models list`."
)
@click.pass_context
def demo(context: click.Context, port: int, serves: bool, model: str) -> int:
    """Index the collections `openmoji`, `rooms` and `photos`, show queries that the model takes, and serve the page.

    You can run it again at any time: it skips what is done and goes on with what was interrupted. A collection made
    with other weights than the loaded ones is indexed anew.
    """
    settings = read_settings()
    if model == DEFAULT_MODEL:
        _pull_encoders(settings)
    galleries = settings.home / "galleries"
    wheel = fetch_wheel(settings.home / "downloads")
    write_gallery(galleries / OPENMOJI, wheel, _say_how_far)
    write_rooms(galleries / ROOMS)
    photos = read_photos()
    write_photos(galleries / PHOTOS, photos)
    drawing = _draw_cat(galleries, wheel)
    edges = _draw_edges(galleries, photos)
    with Runtime.open(settings, model) as runtime:
        ours = [name for name in (OPENMOJI, ROOMS, PHOTOS) if _is_ours(runtime, galleries / name)]
        for name in ours:
            exit_code = _index(runtime, galleries / name)
            if exit_code:
                return exit_code
        click.echo(ATTRIBUTION)
        click.echo(_ROOMS_ATTRIBUTION.format(galleries / ROOMS / CREDITS))
        click.echo(_PHOTOS_ATTRIBUTION.format(galleries / PHOTOS / CREDITS))
        _show_examples(runtime, ours, examples(drawing, edges, galleries / ROOMS))
    if serves:
        _serve(context, settings, port, model)
    return DONE


def _pull_encoders(settings: Settings) -> None:
    """Fetch the encoders of the bundled model, unless they are installed."""
    from anyseek.model.encoders.pull import pull_encoders

    for path in pull_encoders(settings.home):
        click.echo(f"made {path}")


def _say_how_far(done: int, total: int) -> None:
    if done == total:
        click.echo(f"rendered {total} OpenMoji drawings")


def _is_ours(runtime: Runtime, gallery: Path) -> bool:
    """Whether the gallery's collection is missing or holds only the gallery.

    A user's own collection of that name must be neither lost nor mixed with the demo's.
    """
    held = _held(runtime, gallery.name)
    if held is None:
        return True
    with runtime.database.read() as session:
        others = items.count_outside(session, held, Path(to_uri(str(gallery.resolve()))))
    if others:
        click.echo(f"the collection {held.name!r} has items besides the demo's, so it is left unchanged")
    return not others


def _index(runtime: Runtime, gallery: Path) -> int:
    """Index the gallery into the collection of its name; return the exit code."""
    held = _held(runtime, gallery.name)
    if held and _is_outdated(runtime, held):
        click.echo(f"the model has changed since {held.name!r} was indexed; indexing it anew")
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
    loaded = {space.name: space.fingerprint for space in runtime.embedder.spaces.values()}
    return {space.name: space.fingerprint for space in held.spaces.values()} != loaded


def _draw_cat(galleries: Path, wheel: Path) -> Path:
    """Draw lines to search with into a file that the printed command can name."""
    path = galleries / "cat-drawing.png"
    with Drawings(wheel) as drawings:
        path.write_bytes(render_png(drawings[_DRAWN], Rendering.LINE))
    return path


def _draw_edges(galleries: Path, photos: Sequence[Photo]) -> Path:
    """Draw the edges of a photo into a file that the printed command can name."""
    path = galleries / "photo-edges.png"
    picture = next(photo.picture() for photo in photos if photo.id == _PHOTO)
    Image.fromarray(canny(picture, _BLUR, _QUIET)).save(path)
    return path


def _show_examples(runtime: Runtime, ours: Container[str], all_examples: list[Example]) -> None:
    for example in all_examples:
        if example.collection in ours and example.asks_only(runtime.embedder.modalities):
            command = f"anyseek query --collection {example.collection} -k {_SHOWN_HITS} {example.options}"
            click.echo(f"\n$ {command}\n{_answer(runtime, example)}")


def _answer(runtime: Runtime, example: Example) -> str:
    pictures = runtime.pictures_of(example.collection)
    limits = runtime.settings.limits
    members = query_json(Query(example.parts, _SHOWN_HITS), limits)
    results = runtime.engine.query(example.collection, read_query(members, limits, runtime.embedder, pictures))
    return as_table(replace(results, hits=tuple(replace(hit, path=None) for hit in results.hits)))


def _serve(context: click.Context, settings: Settings, port: int, model: str) -> None:
    url = recorded_url(settings)
    click.echo()
    if url:
        click.echo(f"Anyseek is already served at {url}")
    else:
        context.invoke(serve, port=port, model=model)
