"""Kinds of sources and labellers that a recipe can name, and what one of each is made from. No torch.

A kind is one module with a `SourceKind` or `LabellerKind` in it and one line below; it is imported when a recipe
names it, so it may import what only it needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from model.data.errors import RecipeInvalid
from model.data.samples import DataSample, Source
from model.data.splits import Shares

SOURCES = {
    "folder": "model.data.sources.folder:FOLDER",
    "shards": "model.data.sources.shards:SHARDS",
    "emoji": "model.data.sources.emoji:EMOJI",
    "clipart": "model.data.sources.clipart:CLIPART",
    "photos": "model.data.sources.photos:PHOTOS",
    "rooms": "model.data.rooms.source:ROOMS",
    "texts": "model.data.sources.texts:TEXTS",
}
LABELLERS = {
    "canny_edge": "model.data.labellers.edges:CANNY_EDGE",
    "soft_edge": "model.data.labellers.edges:SOFT_EDGE",
    "color_palette": "model.data.labellers.palette:COLOR_PALETTE",
    "caption": "model.data.labellers.captions:CAPTION",
    "metadata": "model.data.labellers.metadata:METADATA",
    "feature_map": "model.data.labellers.pictures:FEATURE_MAP",
    "visual_global": "model.data.labellers.pictures:VISUAL_GLOBAL",
    "caption_states": "model.data.labellers.texts:CAPTION_STATES",
    "semantic_global": "model.data.labellers.texts:SEMANTIC_GLOBAL",
    "tokens": "model.data.labellers.tokens:TOKENS",
}


@dataclass(frozen=True)
class Place:
    """Where and how a data set is built.

    `home` keeps downloads and weights. `image_size` is the side in pixels at which sources draw what has no size of its
    own. `shares` splits what has no split of its own.
    """

    home: Path
    image_size: int
    shares: Shares


class Labeller(Protocol):
    """Makes values from other values of a sample.

    It runs on every sample that has all of `needs`; what it returns is added, or takes the place of what was there.
    The same sample always gives the same values. One is made in each worker process.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[str]:
        """Modalities without which there is nothing to do; those that it only uses if they are there do not count."""
        ...

    @property
    def gives(self) -> frozenset[str]: ...

    def label(self, sample: DataSample) -> Mapping[str, Any]:
        """Values by modality, none or some of `gives`. Raises `SampleInvalid` if it cannot."""
        ...


@dataclass(frozen=True)
class SourceKind:
    """`options` is a frozen dataclass, its fields are what a recipe may set; `open` gets the source's name and them."""

    options: type
    open: Callable[[str, Any, Place], Source]


@dataclass(frozen=True)
class LabellerKind:
    """`options` is a frozen dataclass, its fields are what a recipe may set; `open` makes the labeller in a worker.

    `fetch` makes sure, before any work, that what it needs is there, and says which exactly: weights by their checksum.
    """

    options: type
    open: Callable[[Any, Place], Labeller]
    fetch: Callable[[Any, Place], str] = lambda options, place: ""


def source_kind(name: str) -> SourceKind:
    """The kind of sources of that name. Raises `RecipeInvalid`."""
    kind: SourceKind = _kind("source", SOURCES, name)
    return kind


def labeller_kind(name: str) -> LabellerKind:
    """The kind of labellers of that name. Raises `RecipeInvalid`."""
    kind: LabellerKind = _kind("labeller", LABELLERS, name)
    return kind


def _kind(what: str, table: Mapping[str, str], name: str) -> Any:
    if name not in table:
        raise RecipeInvalid(f"no {what} is called {name!r}; known ones are {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
