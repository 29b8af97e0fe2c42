"""RECIPE.yaml: the sources, the labellers, and how shards are cut. No torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from anyseek.model.config import read_yaml, sentence
from anyseek.model.data.errors import RecipeInvalid
from anyseek.model.data.registry import labeller_kind, source_kind
from anyseek.model.data.samples import Shares, Split, StrictModel


class LabellerRecipe(StrictModel):
    """One labeller, written `{kind: KIND, option: ...}`, or as its kind alone."""

    kind: str
    options: Any = None  # of the kind's own class

    @classmethod
    def options_of(cls, kind: str) -> type[StrictModel]:
        """The options of a kind. Raises `RecipeInvalid` for an unknown one."""
        return labeller_kind(kind).options

    @model_validator(mode="before")
    @classmethod
    def _read_options(cls, written: Any) -> Any:
        """What is written beside the fields are the options of its kind."""
        written = {"kind": written} if isinstance(written, str) else written
        if not isinstance(written, Mapping):
            return written
        if not isinstance(written.get("kind"), str):
            raise ValueError("kind is missing" if "kind" not in written else "kind must be a valid string")
        known = [name for name in cls.model_fields if name != "options"]
        own = {key: value for key, value in written.items() if key in known}
        rest = {key: value for key, value in written.items() if key not in known}
        options = cls.options_of(own["kind"]).model_validate(rest, context={"beside": known})
        return {**own, "options": options}


class SourceRecipe(LabellerRecipe):
    """One source, called `name`, by default as its kind.

    At most `limit` samples are taken over all splits together; `weight` is passed on to training. `only` names the
    splits to take; by default all are taken.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9_-]*$")] = ""
    weight: Annotated[float, Field(ge=0)] = 1.0
    limit: Annotated[int, Field(ge=1)] | None = None
    only: tuple[Split, ...] = ()

    @classmethod
    def options_of(cls, kind: str) -> type[StrictModel]:
        return source_kind(kind).options

    @model_validator(mode="after")
    def _name(self) -> Self:
        return self if self.name else self.model_copy(update={"name": self.kind})


class Recipe(StrictModel):
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
    def _check_names(self) -> Self:
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
