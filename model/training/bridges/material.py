"""The data that a bridge is fitted to: the base model's vectors of photos, and of the values that match them.

The samples are from the galleries that ship with Anyseek, and from the user's own recipes, packs and folders.
n values of a modality, p photos of a source, d dimensions of a vector, q features."""

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
_MAX_CAPTIONS = 2  # of a photo
_PARTIAL = 2  # additional queries of a photo's metadata, with a subset of the fields


class QueryKind(NamedTuple):
    """The origin of a modality's values: a source and its field, such as `line_drawing` for drawings."""

    source: str
    field: str


@dataclass(frozen=True)
class Queries:
    """Values of one modality and kind.

    `renderings` (n, d) are their vectors by the model, `features` (n, q) the inputs of their map; None if they have
    none. `photo` (n,) is the row of each value's photo among the photos of its source, or `NO_PHOTO`.
    """

    renderings: FloatArray | None
    features: FloatArray | None
    photo: IntArray


@dataclass(frozen=True)
class Material:
    """Unit vectors of `photos` (p, d) by source, `queries` by modality and kind, and `licences` by source."""

    photos: Mapping[str, FloatArray]
    queries: Mapping[str, Mapping[QueryKind, Queries]]
    licences: Mapping[str, str]


def read_material(base: Embedder, contexts: Sequence[BuildContext], limit: int, say: Say) -> Material:
    """Encode at most `limit` training samples of each source of the contexts' recipes.

    `say` gets lines of progress, and one for each sample that cannot be made. Raises the errors of sources.
    """
    builder = _MaterialBuilder(base)
    for context in contexts:
        samples, count = _samples(context, limit, say), 0
        while chunk := list(islice(samples, _AT_ONCE)):
            builder.add(chunk)
            count += len(chunk)
            say(f"{context.recipe.name}: {count:,} samples seen")
    return builder.material()


@dataclass(frozen=True)
class _SourcedSample:
    """A sample with its source and licence."""

    source: str
    licence: str
    sample: DataSample


def _samples(context: BuildContext, limit: int, say: Say) -> Iterator[_SourcedSample]:
    """The first training samples of every source, in the plan's random order."""
    labellers = context.labellers()
    counts: defaultdict[int, int] = defaultdict(int)
    plan = make_plan(context.recipe, context.sources, context.settings)
    for task in (task for shard in plan.shards if shard.split is Split.TRAIN for task in shard.tasks):
        counts[task.source] += 1
        if counts[task.source] > limit:
            continue
        source = context.sources[task.source]
        try:
            sample = labelled_sample(context, labellers, task)
        except SampleInvalid as error:
            say(f"left out {task.key} of {source.name}: {error}")
            continue
        names = {"source": source.name, "licence": source.licence, **sample.attributes}
        yield _SourcedSample(str(names["source"]), str(names["licence"]), sample)


class _MaterialBuilder:
    """Accumulates encoded samples into a `Material`."""

    def __init__(self, base: Embedder) -> None:
        self._base = base
        self._photos: defaultdict[str, list[FloatArray]] = defaultdict(list)
        self._queries: defaultdict[str, defaultdict[QueryKind, list[Queries]]] = defaultdict(lambda: defaultdict(list))
        self._licences: dict[str, str] = {}

    def add(self, chunk: Sequence[_SourcedSample]) -> None:
        """Encode a chunk of samples."""
        owners = self._add_photos(chunk)
        values: defaultdict[tuple[str, QueryKind], list[tuple[Value, int]]] = defaultdict(list)
        for row, sourced in enumerate(chunk):
            self._licences.setdefault(sourced.source, sourced.licence)
            for field, content in sourced.sample.values.items():
                modality = _query_modality(field)
                for value in _query_values(field, content, sourced.sample.key) if modality else ():
                    if _is_valid(modality, value):
                        values[modality, QueryKind(sourced.source, field)].append((value, owners[row]))
        for (modality, kind), pairs in values.items():
            kind_values = [value for value, _ in pairs]
            photo = np.array([owner for _, owner in pairs], np.int64)
            vectors = rendered_vectors(self._base, modality, kind_values)
            queries = Queries(vectors, features_of(modality, kind_values), photo)
            self._queries[modality][kind].append(queries)

    def _add_photos(self, chunk: Sequence[_SourcedSample]) -> list[int]:
        """Encode the photos of a chunk; return the row of each sample's photo, or `NO_PHOTO`."""
        rows = [row for row, sourced in enumerate(chunk) if PHOTO in sourced.sample.values]
        owners = [NO_PHOTO] * len(chunk)
        if rows:
            renderings = rendered_vectors(self._base, PHOTO, [chunk[row].sample.values[PHOTO] for row in rows])
            assert renderings is not None, "a photo can be rendered"
            for row, vector in zip(rows, renderings, strict=True):
                source = chunk[row].source
                owners[row] = len(self._photos[source])
                self._photos[source].append(vector)
        return owners

    def material(self) -> Material:
        """All encoded samples."""
        queries = {
            modality: {kind: _concatenate(parts) for kind, parts in sorted(kinds.items())}
            for modality, kinds in sorted(self._queries.items())
        }
        photos = {source: np.stack(vectors) for source, vectors in sorted(self._photos.items())}
        return Material(photos, queries, dict(sorted(self._licences.items())))


def _concatenate(parts: Sequence[Queries]) -> Queries:
    def column(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    return Queries(column("renderings"), column("features"), column("photo"))


def _query_modality(field: str) -> str:
    """The modality of queries by a field's values; empty for photos and fields that are no inputs."""
    if field in INPUTS:
        return "" if field == PHOTO else field
    return DRAWING if field_content(field) is Content.DRAWING else ""


def _is_valid(modality: str, value: Value) -> bool:
    try:
        check_value(MODALITIES[modality], value)
    except FormatInvalid:
        return False
    return True


def _query_values(field: str, value: Any, key: str) -> list[Value]:
    """The queries by a field of a sample: two human captions, two palettes, metadata and subsets of it."""
    if field == CAPTION:
        return [caption.text for caption in value if caption.origin is Origin.HUMAN][:_MAX_CAPTIONS]
    if field_content(field) is Content.PALETTE:
        return [value[len(value) // 2], value[-1]]
    if field_content(field) is Content.METADATA:
        return [value, *_partial(cast(Metadata, value), key)]
    return [value]


def _partial(metadata: Metadata, key: str) -> Iterator[Metadata]:
    """Random subsets of the metadata, because users rarely give all fields."""
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    for _ in range(_PARTIAL if metadata.values else 0):
        mask = generator.random(len(metadata.values)) < generator.uniform(0.1, 0.9)
        mask[generator.integers(len(mask))] = True
        yield Metadata({name: value for (name, value), keep in zip(metadata.values.items(), mask, strict=True) if keep})


_OWN = "the user's own"
_PACKS = ("captions", "sketches", "depth", "segmentation", "photos")
_LABELLERS = ["canny_edge", "color_palette", "metadata"]
_ROOMS_LICENCE = "rendered for Anyseek from models under CC0 and CC BY 3.0 (model/galleries/rooms/CREDITS.txt)"


def gallery_contexts(home: Path, say: Say) -> list[BuildContext]:
    """The demo's galleries: rendered rooms with maps, and OpenMoji with its line drawings, if it can be fetched."""
    rooms = open_context(_folder_recipe("rooms", FOLDER, _ROOMS_LICENCE), home)
    contexts = [replace(rooms, sources=(RoomsSource(rooms.sources[0]),))]
    try:
        fetch_wheel(home / "downloads")
    except DownloadFailed as error:
        say(f"left out OpenMoji: {error}")
        return contexts
    return [*contexts, open_context(_recipe("openmoji", [{"kind": "emoji", "vendors": ["openmoji"]}]), home)]


def user_data_context(path: Path, home: Path) -> BuildContext:
    """The context of the user's data: a recipe, a folder of packs, a data set, or a folder of aligned modalities.

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
    """The context of a recipe, with its sources opened. Raises `SourceUnavailable`, `DownloadFailed`."""
    settings = BuildSettings(home, recipe.image_size, recipe.splits)
    return BuildContext(recipe, settings, open_sources(recipe, settings))


def _recipe(name: str, sources: list[dict[str, Any]]) -> Recipe:
    rows = [{**source, "name": name} if len(sources) == 1 else source for source in sources]
    return parse_recipe({"name": name, "sources": rows, "labellers": _LABELLERS})


def _folder_recipe(name: str, folder: Path, licence: str) -> Recipe:
    return _recipe(name, [{"kind": "folder", "path": str(folder), "licence": licence}])


def _recipe_name(path: Path) -> str:
    """A folder's name in the characters that recipes allow."""
    return re.sub("[^a-z0-9_-]", "-", path.absolute().name.lower()) or "own"


@dataclass(frozen=True)
class RoomsSource:
    """The source of the rooms that ship with Anyseek: their maps, and the boxes and metadata of their manifest."""

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
