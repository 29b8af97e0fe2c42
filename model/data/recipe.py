"""RECIPE.yaml as frozen dataclasses: which sources, which labellers, and how shards are cut. No torch."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from model.data.errors import RecipeInvalid
from model.data.options import read_options, to_plain
from model.data.registry import labeller_kind, source_kind
from model.data.samples import Split
from model.data.splits import Shares

_Keys = TypeVar("_Keys")


@dataclass(frozen=True)
class SourceRecipe:
    """One source: `kind` with its `options` (that kind's dataclass), called `name`.

    At most `limit` samples are taken, in all splits together; `weight` is passed on to who trains. Of the splits `only`
    those named are taken, all if none is.
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
    """How a data set is made; labellers run in this order.

    `image_size`: the short side of pictures and maps in pixels, at most. `shard_samples`: how many samples go into a
    shard, at most. `seed` orders the samples. `splits`: for sources that have no split of their own.
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
    image_size: int = 224
    shard_samples: int = 500
    splits: Shares = field(default_factory=Shares)

    def __post_init__(self) -> None:
        if not 16 <= self.image_size <= 4096:
            raise ValueError(f"image_size is from 16 to 4096 pixels, not {self.image_size}")
        if not 1 <= self.shard_samples <= 100_000:
            raise ValueError(f"shard_samples is from 1 to 100,000, not {self.shard_samples}")

        if not self.sources:
            raise ValueError("sources is empty; a data set has one or more")


@dataclass(frozen=True)
class _SourceKeys:
    """The keys that all sources have; the others are the options of its kind."""

    kind: str
    name: str = ""
    weight: float = 1.0
    limit: int | None = None
    only: tuple[Split, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9_-]*", self.name):
            raise ValueError(f"a source's name has small letters, digits, `_` and `-` only, not {self.name!r}")
        if self.weight < 0 or (self.limit is not None and self.limit < 1):
            raise ValueError("weight is 0 or more, limit 1 or more")


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
    top = read_options(_Written, written, "")
    sources = tuple(_source(one, f"sources[{n}]") for n, one in enumerate(top.sources))
    names = [source.name for source in sources]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeInvalid(f"two sources are called {twice[0]!r}; give each a name of its own")
    labellers = tuple(_labeller(one, f"labellers[{n}]") for n, one in enumerate(top.labellers))
    return Recipe(top.name, top.seed, top.image_size, top.shard_samples, top.splits, sources, labellers)


def _source(written: object, where: str) -> SourceRecipe:
    keys, rest = _common(_SourceKeys, written, where)
    options: Any = read_options(source_kind(keys.kind).options, rest, where)
    return SourceRecipe(keys.name or keys.kind, keys.kind, options, keys.weight, keys.limit, keys.only)


def _labeller(written: object, where: str) -> LabellerRecipe:
    """A labeller is written `{kind: NAME, option: ...}`, or as its kind alone."""
    keys, rest = _common(_LabellerKeys, {"kind": written} if isinstance(written, str) else written, where)
    return LabellerRecipe(keys.kind, read_options(labeller_kind(keys.kind).options, rest, where))


def _common(kind: type[_Keys], written: object, where: str) -> tuple[_Keys, dict[str, Any]]:
    """The keys of `kind`, and what is left of a mapping without them."""
    if not isinstance(written, Mapping):
        raise RecipeInvalid(f"{where} must map names to values, not be {written!r:.60}")
    own = {one.name for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    common = {key: value for key, value in written.items() if key in own}
    return read_options(kind, common, where), {key: value for key, value in written.items() if key not in own}
