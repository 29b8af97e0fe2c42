"""The kinds of sources and labellers that a recipe can name, and what each is constructed from. No torch.

To add a kind, write a module with a `SourceKind` or `LabellerKind` and add one line below. The module is imported only
when a recipe names it, so it may have dependencies of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from anyseek.model.data.errors import RecipeInvalid
from anyseek.model.data.samples import DataSample, Source
from anyseek.model.data.splits import Shares

SOURCES = {
    "folder": "anyseek.model.data.sources.folder:FOLDER",
    "shards": "anyseek.model.data.sources.shards:SHARDS",
    "emoji": "anyseek.model.data.sources.emoji:EMOJI",
    "clipart": "anyseek.model.data.sources.clipart:CLIPART",
    "photos": "anyseek.model.data.sources.photos:PHOTOS",
    "captions": "anyseek.model.data.sources.captions:CAPTIONS",
    "sketches": "anyseek.model.data.sources.sketches:SKETCHES",
    "depth": "anyseek.model.data.sources.measured:DEPTH",
    "segmentation": "anyseek.model.data.sources.measured:SEGMENTATION",
    "rooms": "anyseek.model.rooms.source:ROOMS",
    "texts": "anyseek.model.data.sources.texts:TEXTS",
}
LABELLERS = {
    "canny_edge": "anyseek.model.data.labellers.edges:CANNY_EDGE",
    "soft_edge": "anyseek.model.data.labellers.edges:SOFT_EDGE",
    "color_palette": "anyseek.model.data.labellers.palette:COLOR_PALETTE",
    "caption": "anyseek.model.data.labellers.captions:CAPTION",
    "metadata": "anyseek.model.data.labellers.metadata:METADATA",
    "feature_map": "anyseek.model.data.labellers.pictures:FEATURE_MAP",
    "visual_global": "anyseek.model.data.labellers.pictures:VISUAL_GLOBAL",
    "caption_states": "anyseek.model.data.labellers.texts:CAPTION_STATES",
    "semantic_global": "anyseek.model.data.labellers.texts:SEMANTIC_GLOBAL",
    "tokens": "anyseek.model.data.labellers.tokens:TOKENS",
}


@dataclass(frozen=True)
class Place:
    """Where and how a data set is built.

    `home` keeps downloads and weights. `image_size` is the side in pixels at which sources draw what has no size of its
    own. `shares` splits sources without splits of their own.
    """

    home: Path
    image_size: int
    shares: Shares


class Labeller(Protocol):
    """Makes values from other values of a sample.

    A labeller runs on every sample that has all of `needs`; the values it returns are added to the sample or replace
    those already there. The same sample always gives the same values. Each worker process makes one labeller.
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
    """A kind: `options` is a frozen dataclass of what a recipe may set; `open` makes the labeller in a worker.

    `fetch` runs before any work, makes sure that what the labeller needs is there, and identifies it exactly: weights
    by their checksum.
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
        raise RecipeInvalid(f"{name!r} is not a {what}; the known ones are {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
