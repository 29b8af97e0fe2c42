"""What a bridge is fitted to: the galleries that come with Anyseek, and the user's own recipes, packs and folders."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from anyseek.model.data.making import Workshop, open_sources
from anyseek.model.data.recipe import Recipe, parse_recipe, read_recipe
from anyseek.model.data.registry import Place
from anyseek.model.data.samples import DataSample, Source, Split
from anyseek.model.data.shards import MANIFEST
from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.galleries.openmoji import fetch_wheel
from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.training.bridges.material import Say

_OWN = "the user's own"
_PACKS = ("captions", "sketches", "depth", "segmentation", "photos")
_LABELLERS = ["canny_edge", "color_palette", "metadata"]
_ROOMS_LICENCE = "rendered for Anyseek from models under CC0 and CC BY 3.0 (model/galleries/rooms/CREDITS.txt)"


def gallery_workshops(home: Path, say: Say) -> list[Workshop]:
    """The demo's galleries: rendered rooms with maps, and OpenMoji with its line drawings, if it can be fetched."""
    rooms = open_workshop(_folder_recipe("rooms", FOLDER, _ROOMS_LICENCE), home)
    made = [replace(rooms, sources=(RoomsSource(rooms.sources[0]),))]
    try:
        fetch_wheel(home / "downloads")
    except DownloadFailed as error:
        say(f"left out OpenMoji: {error}")
        return made
    return [*made, open_workshop(_recipe("openmoji", [{"kind": "emoji", "vendors": ["openmoji"]}]), home)]


def own_workshop(path: Path, home: Path) -> Workshop:
    """The user's own data: a recipe, a folder of packs, a built data set, or a folder of aligned modalities.

    Raises `RecipeInvalid`, `SourceUnavailable`.
    """
    if path.is_file():
        return open_workshop(read_recipe(path), home)
    packs = [name for name in _PACKS if any((path / name).glob(f"{name}-*.tar"))]
    if packs:
        return open_workshop(_recipe(_named(path), [{"kind": pack, "path": str(path / pack)} for pack in packs]), home)
    if (path / MANIFEST).is_file():
        shards = {"kind": "shards", "path": str(path / "train-*.tar"), "split": "train", "licence": _OWN}
        return open_workshop(_recipe(_named(path), [shards]), home)
    return open_workshop(_folder_recipe(_named(path), path, _OWN), home)


def open_workshop(recipe: Recipe, home: Path) -> Workshop:
    """A recipe with its sources opened. Raises `SourceUnavailable`, `DownloadFailed`."""
    place = Place(home, recipe.image_size, recipe.splits)
    return Workshop(recipe, place, open_sources(recipe, place))


def _recipe(name: str, sources: list[dict[str, Any]]) -> Recipe:
    named = [{**source, "name": name} if len(sources) == 1 else source for source in sources]
    return parse_recipe({"name": name, "sources": named, "labellers": _LABELLERS})


def _folder_recipe(name: str, folder: Path, licence: str) -> Recipe:
    return _recipe(name, [{"kind": "folder", "path": str(folder), "licence": licence}])


def _named(path: Path) -> str:
    """A folder's name as recipes allow it."""
    return re.sub("[^a-z0-9_-]", "-", path.absolute().name.lower()) or "own"


@dataclass(frozen=True)
class RoomsSource:
    """The views of rooms that come with Anyseek: their maps, and what their manifest says."""

    maps: Source

    @property
    def name(self) -> str:
        return self.maps.name

    @property
    def licence(self) -> str:
        return self.maps.licence

    @property
    def origin(self) -> str:
        return self.maps.origin

    def keys(self, split: Split) -> Sequence[str]:
        return self.maps.keys(split)

    def sample(self, key: str) -> DataSample:
        sample, view = self.maps.sample(key), _views()[key]
        boxes = tuple(LabelledBox(Box(*box["box"]), box["label"]) for box in view["bounding_boxes"])
        told = {"bounding_boxes": boxes, "metadata": Metadata(view["metadata"])}
        return DataSample(key, {**sample.values, **told}, sample.attributes)


@cache
def _views() -> dict[str, dict[str, Any]]:
    return {view["key"]: view for view in read_views()}
