"""The demo galleries as folders that `anyseek index` can read: OpenMoji drawings, rendered rooms, photographs.

Folders are written atomically: filled under a temporary name, then renamed. A folder whose manifest is up to
date is left unchanged.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyseek.indexer.sources.folder import MANIFEST
from anyseek.model.files import atomic_folder, remove_leftovers
from anyseek.model.galleries.openmoji import Concept, Drawings, Rendering, read_concepts, render_png
from anyseek.model.galleries.photos import CREDITS, Photo, photo_credits, photo_file_name, read_views
from anyseek.model.galleries.photos import FOLDER as ROOMS

PICTURE_SIZE = 224

# Modalities that are inline in a view's manifest line, and files of an item.
_DOCUMENTS = ("bounding_boxes", "metadata")
# Fields of a view that become attributes of the item, for filters and the page.
_VIEW_ATTRIBUTES = ("captions", "metadata", "color_palette")

_Row = Mapping[str, Any]


def write_gallery(folder: Path, wheel: Path, progress: Callable[[int, int], None]) -> None:
    """Render every base concept of `wheel`, 2,460 of them, into `folder`.

    `progress(done, total)` is called after each picture.
    """
    concepts = read_concepts()

    def fill(unfinished: Path) -> None:
        with Drawings(wheel) as drawings:
            for done, concept in enumerate(concepts, start=1):
                png = render_png(drawings[concept.hexcode], Rendering.FULL, PICTURE_SIZE)
                (unfinished / _file_name(concept)).write_bytes(png)
                progress(done, len(concepts))

    _write_folder(folder, map(_drawing_row, concepts), fill)


def write_rooms(folder: Path, source: Path = ROOMS) -> None:
    """Write the rooms of `source` into `folder`, boxes and metadata as files beside the maps."""
    views = read_views(source)

    def fill(unfinished: Path) -> None:
        maps = (file for view in views for file in view["modalities"].values())
        names = (file if isinstance(file, str) else file["file"] for file in maps)
        for name in (CREDITS, *(view["file"] for view in views), *names):
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, unfinished / name)
        for modality in _DOCUMENTS:
            (unfinished / modality).mkdir()
            for view in views:
                (unfinished / _document_path(modality, view)).write_text(json.dumps(view[modality]), encoding="utf-8")

    _write_folder(folder, map(_room_row, views), fill)


def write_photos(folder: Path, photos: Sequence[Photo]) -> None:
    """Write the photos into `folder`, with their credits.

    Titles become the attribute `title`, not captions, so that text queries match the content of photos.
    """

    def fill(unfinished: Path) -> None:
        for photo in photos:
            path = unfinished / photo_file_name(photo.id)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(photo.webp)
        (unfinished / CREDITS).write_text(photo_credits(photos), encoding="utf-8")

    facts = ("title", "source", "licence", "origin")
    rows = (
        {
            "file": photo_file_name(photo.id),
            "key": photo.id,
            "attributes": {name: getattr(photo, name) for name in facts},
        }
        for photo in photos
    )
    _write_folder(folder, rows, fill)


def _write_folder(folder: Path, rows: Iterable[_Row], fill: Callable[[Path], None]) -> None:
    manifest = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = folder / MANIFEST
    if path.is_file() and path.read_text("utf-8") == manifest:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent)
    with atomic_folder(folder) as unfinished:
        fill(unfinished)
        (unfinished / MANIFEST).write_text(manifest, encoding="utf-8")


def _drawing_row(concept: Concept) -> _Row:
    row: dict[str, Any] = {"file": _file_name(concept), "key": concept.hexcode}
    if concept.caption:
        row["caption"] = concept.caption
        row["attributes"] = {"group": concept.group, "subgroup": concept.subgroup, "tags": list(concept.tags)}
    return row


def _file_name(concept: Concept) -> str:
    return f"{concept.hexcode}.png"


def _room_row(view: _Row) -> _Row:
    classes = view["modalities"]["semseg"]["classes"]
    documents = {modality: _document_path(modality, view) for modality in _DOCUMENTS}
    return {
        "file": view["file"],
        "key": view["key"],
        "caption": view["caption"],
        "attributes": view["attributes"] | {name: view[name] for name in _VIEW_ATTRIBUTES} | {"classes": classes},
        "modalities": view["modalities"] | documents,
    }


def _document_path(modality: str, view: _Row) -> str:
    return f"{modality}/{view['key']}.json"
