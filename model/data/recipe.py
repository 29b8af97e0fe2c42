"""RECIPE.yaml: the sources, the labellers, and how shards are cut. No torch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from anyseek.model.config import Config, NotNegative, Positive, read_yaml, sentence
from anyseek.model.data.errors import RecipeInvalid
from anyseek.model.data.registry import LabellerKind, SourceKind, labeller_kind, source_kind
from anyseek.model.data.samples import Shares, Split


class LabellerRecipe(Config):
    """One labeller, written `{kind: KIND, option: ...}`, or as its kind alone; `options` are of the kind's class."""

    find_kind: ClassVar[Callable[[str], SourceKind | LabellerKind]] = labeller_kind

    kind: str
    options: Any = None

    @model_validator(mode="before")
    @classmethod
    def _read_options(cls, written: Any) -> Any:
        """Read what is written beside the fields as the options of the kind."""
        if isinstance(written, str):
            written = {"kind": written}
        if not isinstance(written, Mapping):
            return written
        if not isinstance(kind := written.get("kind"), str):
            raise ValueError("kind is missing" if kind is None else f"kind must be a valid string, not {kind!r:.60}")
        fields = cls.model_fields.keys() - {"options"}
        rest = {key: value for key, value in written.items() if key not in fields}
        try:
            options = cls.find_kind(kind).options.model_validate(rest)
        except ValidationError as error:
            raise ValueError(sentence(error).removeprefix("the config ")) from error
        return {**{key: value for key, value in written.items() if key in fields}, "options": options}


class SourceRecipe(LabellerRecipe):
    """One source, called `name`, by default as its kind.

    At most `limit` samples are taken over all splits together; `weight` is passed on to training. `only` names the
    splits to take; by default all are taken.
    """

    find_kind: ClassVar[Callable[[str], SourceKind | LabellerKind]] = source_kind

    name: Annotated[str, Field(pattern="^[a-z0-9_-]*$")] = ""
    weight: NotNegative = 1.0
    limit: Positive | None = None
    only: tuple[Split, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _name_by_kind(cls, written: Any) -> Any:
        named = isinstance(written, Mapping) and not written.get("name") and "kind" in written
        return {**written, "name": written["kind"]} if named else written


class Recipe(Config):
    """How to make a data set; labellers run in this order.

    `image_size` is the largest short side of pictures and maps in pixels. `shard_samples` is the largest number of
    samples in a shard. `seed` orders the samples. `splits` applies to sources without splits of their own.
    """

    name: str
    sources: Annotated[tuple[SourceRecipe, ...], Field(min_length=1)]
    labellers: tuple[LabellerRecipe, ...] = ()
    seed: int = 0
    image_size: Annotated[int, Field(ge=16, le=4096)] = 224
    shard_samples: Annotated[int, Field(ge=1, le=100_000)] = 500
    splits: Shares = Shares()

    @model_validator(mode="after")
    def _name_sources_apart(self) -> Self:
        names = [source.name for source in self.sources]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two sources are called {twice[0]!r}; give each a name of its own")
        return self


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file. Raises `RecipeInvalid`, naming the file and the key."""
    return read_yaml(path, Recipe, RecipeInvalid)


def parse_recipe(written: object) -> Recipe:
    """A recipe from what YAML holds. Raises `RecipeInvalid`, naming the key."""
    try:
        return Recipe.model_validate(written)
    except ValidationError as error:
        raise RecipeInvalid(sentence(error)) from error
