"""The small transfer suite: its pictures ship with Anyseek or are fetched by pip, so CI can hold models to its rule.

| source | pictures | queries |
|---|---|---|
| `photos` | the demo's 200 photographs, of no training split | their titles, their Canny edges |
| `rooms` | 100 of the demo's rendered rooms, of the test split | their depth, regions and Canny edges |
| `openmoji` | all emoji of the test split | their lines |
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import fetch_openmoji, split_of
from anyseek.model.galleries.openmoji import draw_svg, line_drawing
from anyseek.model.galleries.photos import FOLDER, Photo, read_photos, read_views
from anyseek.model.modalities.reading.decode import decode_file
from anyseek.model.seam import Sample
from anyseek.search.evaluation.aligned import AlignedSet, LazySamples, QuerySet, evenly
from anyseek.search.evaluation.emoji_suite import grey, one_each
from anyseek.search.evaluation.transfer_sets import CAPTION, DRAWING, PHOTO, TransferSet, edges_of
from anyseek.search.settings import Limits

_ROOMS = 100

_View = Mapping[str, Any]


def small_transfer_sets(home: Path, most: int | None = None) -> list[TransferSet]:
    """Return the sets, with at most `most` pictures in each, evenly chosen.

    Fetches OpenMoji's drawings into `home` on the first call; raises `DownloadFailed` if that fails, and `ShardCorrupt`
    if the photos that ship with the project are damaged.
    """
    return [_photos(most), _rooms(min(most or _ROOMS, _ROOMS)), _emoji(home, most)]


def _photos(most: int | None) -> TransferSet:
    photos = evenly(read_photos(), most)
    keys = tuple(photo.id for photo in photos)
    titles = QuerySet("title", CAPTION, [Sample({CAPTION: photo.title}) for photo in photos], keys)
    edges = QuerySet("edges", DRAWING, LazySamples(photos, lambda photo: edges_of(photo.id, photo.picture())), keys)
    return _set("photos", AlignedSet("photos", keys, LazySamples(photos, _decoded), queries=(titles, edges)))


def _decoded(photo: Photo) -> Sample:
    return Sample({PHOTO: photo.picture()})


def _rooms(most: int) -> TransferSet:
    views = evenly(read_views(), most)
    keys = tuple(view["key"] for view in views)
    queries = (
        QuerySet("depth", "depth", LazySamples(views, _depth), keys),
        QuerySet("semseg", "semseg", LazySamples(views, _regions), keys),
        QuerySet("edges", DRAWING, LazySamples(views, _edges), keys),
    )
    return _set("rooms", AlignedSet("rooms", keys, LazySamples(views, _picture), queries=queries))


def _picture(view: _View) -> Sample:
    return Sample({PHOTO: decode_file(PHOTO, FOLDER / view["file"], Limits())})


def _depth(view: _View) -> Sample:
    return Sample({"depth": decode_file("depth", FOLDER / view["modalities"]["depth"], Limits())})


def _regions(view: _View) -> Sample:
    told = view["modalities"]["semseg"]
    classes = {int(number): name for number, name in told["classes"].items()}
    return Sample({"semseg": decode_file("semseg", FOLDER / told["file"], Limits(), classes)})


def _edges(view: _View) -> Sample:
    picture = np.asarray(_picture(view).values[PHOTO], np.uint8)
    return edges_of(view["key"], picture)


def _emoji(home: Path, most: int | None) -> TransferSet:
    art = one_each(fetch_openmoji(home / "downloads"))
    keys = tuple(evenly([key for key in art if split_of(key) is Split.TEST], most))
    svgs = [art[key].svg for key in keys]
    lines = QuerySet("line", DRAWING, LazySamples(svgs, _lines), keys)
    return _set("openmoji", AlignedSet("openmoji", keys, LazySamples(svgs, _drawn), queries=(lines,)))


def _drawn(svg: str) -> Sample:
    return Sample({PHOTO: draw_svg(svg)})


def _lines(svg: str) -> Sample:
    return Sample({DRAWING: grey(draw_svg(line_drawing(svg)))})


def _set(source: str, aligned: AlignedSet) -> TransferSet:
    return TransferSet(source, aligned, whole=False)
