"""RECIPE.yaml as frozen dataclasses: the sources, the labellers, and how shards are cut. No torch."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml

from anyseek.model.config_reader import Bounds, NotNegative, Positive, Refused, read
from anyseek.model.data.errors import RecipeInvalid
from anyseek.model.data.registry import labeller_kind, source_kind
from anyseek.model.data.samples import Split
from anyseek.model.data.splits import Shares

_Keys = TypeVar("_Keys")


@dataclass(frozen=True)
class SourceRecipe:
    """One source, named `name`: its `kind` with that kind's `options` dataclass.

    At most `limit` samples are taken over all splits together; `weight` is passed on to training. `only` names the
    splits to take; by default all are taken.
    """

    name: str
    kind: str
    options: Any
    weight: float
    limit: int | None
    only: tuple[Split, ...] = ()


@dataclass(frozen=True)
class LabellerRecipe:
    """One labeller: `kind` with its `options` (that kind's dataclass)."""

    kind: str
    options: Any


@dataclass(frozen=True)
class Recipe:
    """How to make a data set; labellers run in this order.

    `image_size` is the largest short side of pictures and maps in pixels. `shard_samples` is the largest number of
    samples in a shard. `seed` orders the samples. `splits` applies to sources without splits of their own.
    """

    name: str
    seed: int
    image_size: int
    shard_samples: int
    splits: Shares
    sources: tuple[SourceRecipe, ...]
    labellers: tuple[LabellerRecipe, ...]

    def plain(self) -> Any:
        """All of it as JSON would have it."""
        return to_plain(self)


@dataclass(frozen=True)
class _Written:
    """The keys of a recipe file."""

    name: str
    sources: tuple[Any, ...]
    labellers: tuple[Any, ...] = ()
    seed: int = 0
    image_size: Annotated[int, Bounds(16, 4096)] = 224
    shard_samples: Annotated[int, Bounds(1, 100_000)] = 500
    splits: Shares = field(default_factory=Shares)

    def __post_init__(self) -> None:
        if not self.sources:
            raise Refused("sources", "must be a list of one or more, not empty")


@dataclass(frozen=True)
class _SourceKeys:
    """The keys that all sources have; the others are the options of its kind."""

    kind: str
    name: str = ""
    weight: NotNegative = 1.0
    limit: Positive | None = None
    only: tuple[Split, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9_-]*", self.name):
            raise Refused("name", f"must have small letters, digits, `_` and `-` only, not {self.name!r}")


@dataclass(frozen=True)
class _LabellerKeys:
    """The key that all labellers have; the others are the options of its kind."""

    kind: str


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file. Raises `RecipeInvalid`, naming the file and the key, and `OSError`."""
    try:
        return parse_recipe(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (RecipeInvalid, yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeInvalid(f"{path}: {' '.join(str(error).split())}") from error


def parse_recipe(written: object) -> Recipe:
    """A recipe from what YAML holds. Raises `RecipeInvalid`, naming the key."""
    try:
        top = read(_Written, written)
        sources = tuple(_source(source, f"sources[{place}]") for place, source in enumerate(top.sources))
        labellers = tuple(_labeller(labeller, f"labellers[{place}]") for place, labeller in enumerate(top.labellers))
    except Refused as error:
        raise RecipeInvalid(str(error)) from error
    names = [source.name for source in sources]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeInvalid(f"two sources are called {twice[0]!r}; give each a name of its own")
    return Recipe(top.name, top.seed, top.image_size, top.shard_samples, top.splits, sources, labellers)


def _source(written: object, where: str) -> SourceRecipe:
    keys, rest = _common(_SourceKeys, written, where)
    options: Any = read(source_kind(keys.kind).options, rest, where, _names_of(_SourceKeys))
    return SourceRecipe(keys.name or keys.kind, keys.kind, options, keys.weight, keys.limit, keys.only)


def _labeller(written: object, where: str) -> LabellerRecipe:
    """A labeller is written `{kind: NAME, option: ...}`, or as its kind alone."""
    keys, rest = _common(_LabellerKeys, {"kind": written} if isinstance(written, str) else written, where)
    return LabellerRecipe(keys.kind, read(labeller_kind(keys.kind).options, rest, where, _names_of(_LabellerKeys)))


def _common(kind: type[_Keys], written: object, where: str) -> tuple[_Keys, dict[Any, Any]]:
    """The keys of `kind`, and what is left of a mapping without them."""
    if not isinstance(written, Mapping):
        raise Refused(where, f"must map names to values; it is {written!r:.60}")
    own = _names_of(kind)
    common = {key: value for key, value in written.items() if key in own}
    return read(kind, common, where), {key: value for key, value in written.items() if key not in own}


def _names_of(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def to_plain(value: Any) -> Any:
    """Options as JSON would have them, for digests."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
