"""The kinds of sources and labellers that a recipe can name. No torch.

To add a kind, write a module with a `SourceKind` or `LabellerKind`, whose `options` are a `Config`, and add a
line. The module is imported only when a recipe names its kind, so it may have dependencies of its own.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from anyseek.model.config import Config
from anyseek.model.data.errors import RecipeInvalid
from anyseek.model.data.samples import DataSample, Shares, Source

SOURCES = {
    "folder": "anyseek.model.data.sources.folder:FOLDER",
    "shards": "anyseek.model.data.sources.shards:SHARDS",
    "emoji": "anyseek.model.data.sources.emoji:EMOJI",
    "clipart": "anyseek.model.data.sources.clipart:CLIPART",
    "photos": "anyseek.model.data.sources.packs:PHOTOS",
    "captions": "anyseek.model.data.sources.packs:CAPTIONS",
    "sketches": "anyseek.model.data.sources.packs:SKETCHES",
    "depth": "anyseek.model.data.sources.packs:DEPTH",
    "segmentation": "anyseek.model.data.sources.packs:SEGMENTATION",
    "texts": "anyseek.model.data.sources.texts:TEXTS",
}
LABELLERS = {
    "canny_edge": "anyseek.model.data.labellers.computed:CANNY_EDGE",
    "soft_edge": "anyseek.model.data.labellers.computed:SOFT_EDGE",
    "color_palette": "anyseek.model.data.labellers.computed:COLOR_PALETTE",
    "caption": "anyseek.model.data.labellers.computed:CAPTION",
    "metadata": "anyseek.model.data.labellers.computed:METADATA",
    "feature_map": "anyseek.model.data.labellers.encoded:FEATURE_MAP",
    "visual_global": "anyseek.model.data.labellers.encoded:VISUAL_GLOBAL",
    "caption_states": "anyseek.model.data.labellers.encoded:CAPTION_STATES",
    "semantic_global": "anyseek.model.data.labellers.encoded:SEMANTIC_GLOBAL",
    "tokens": "anyseek.model.data.labellers.tokens:TOKENS",
}


@dataclass(frozen=True)
class BuildSettings:
    """The settings of a build that sources and labellers get.

    `home` is the data directory, with downloads and weights. `image_size` is the side in pixels at which sources draw
    vector art. `shares` splits sources without splits of their own.
    """

    home: Path
    image_size: int
    shares: Shares


@dataclass(frozen=True)
class Labeller:
    """Computes values from other values of a sample. Each worker process opens its own labellers.

    `label` runs on every sample that has all modalities in `needs`; the values it returns, by modality, are added to
    the sample or replace those already there. The same sample always gives the same values. Raises `SampleInvalid` for
    a sample that cannot be labelled.
    """

    name: str
    label: Callable[[DataSample], Mapping[str, Any]]
    needs: Set[str] = frozenset()


@dataclass(frozen=True)
class SourceKind:
    """A kind of sources: `open` returns a source by its name, options and the settings of the build."""

    open: Callable[[str, Any, BuildSettings], Source]
    options: type[Config]


@dataclass(frozen=True)
class LabellerKind:
    """A kind of labellers: `open` returns the labeller in a worker process.

    `fetch` runs once before the build: it checks or fetches the files that the labeller needs, and returns a text that
    identifies them, such as the digest of weights.
    """

    open: Callable[[Any, BuildSettings], Labeller]
    options: type[Config] = Config
    fetch: Callable[[Any, BuildSettings], str] = lambda options, settings: ""


def source_kind(name: str) -> SourceKind:
    """The kind of sources with this name. Raises `RecipeInvalid`."""
    kind: SourceKind = _kind("source", SOURCES, name)
    return kind


def labeller_kind(name: str) -> LabellerKind:
    """The kind of labellers with this name. Raises `RecipeInvalid`."""
    kind: LabellerKind = _kind("labeller", LABELLERS, name)
    return kind


def _kind(what: str, table: Mapping[str, str], name: str) -> Any:
    if name not in table:
        raise RecipeInvalid(f"{name!r} is not a {what}; the known ones are {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
