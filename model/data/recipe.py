"""The recipe of a data set: sources, labellers, and the size of shards. No torch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from anyseek.model.config import Config, NotNegative, Positive, read_yaml, sentence
from anyseek.model.data.errors import RecipeInvalid
from anyseek.model.data.registry import LabellerKind, SourceKind, labeller_kind, source_kind
from anyseek.model.data.samples import Shares, Split


class LabellerRecipe(Config):
    """A labeller, written `{kind: KIND, option: ...}` or just `KIND`; `options` is an instance of the kind's class."""

    find_kind: ClassVar[Callable[[str], SourceKind | LabellerKind]] = labeller_kind

    kind: str
    options: Any = None

    @model_validator(mode="before")
    @classmethod
    def _read_options(cls, value: Any) -> Any:
        """Parse the keys that are no fields as the options of the kind."""
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, Mapping):
            return value
        if not isinstance(kind := value.get("kind"), str):
            raise ValueError("kind is missing" if kind is None else f"kind must be a valid string, not {kind!r:.60}")
        fields = cls.model_fields.keys() - {"options"}
        rest = {key: option for key, option in value.items() if key not in fields}
        try:
            options = cls.find_kind(kind).options.model_validate(rest)
        except ValidationError as error:
            raise ValueError(sentence(error).removeprefix("the config ")) from error
        return {**{key: field for key, field in value.items() if key in fields}, "options": options}


class SourceRecipe(LabellerRecipe):
    """A source, named `name`, by default like its kind.

    At most `limit` samples are used over all splits together; `weight` is for training. `only` names the
    splits to use, by default all.
    """

    find_kind: ClassVar[Callable[[str], SourceKind | LabellerKind]] = source_kind

    name: Annotated[str, Field(pattern="^[a-z0-9_-]*$")] = ""
    weight: NotNegative = 1.0
    limit: Positive | None = None
    only: tuple[Split, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _name_by_kind(cls, value: Any) -> Any:
        is_unnamed = isinstance(value, Mapping) and not value.get("name") and "kind" in value
        return {**value, "name": value["kind"]} if is_unnamed else value


class Recipe(Config):
    """The recipe of a data set; labellers run in this order.

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
    def _check_source_names(self) -> Self:
        names = [source.name for source in self.sources]
        if duplicates := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two sources are called {duplicates[0]!r}; give each its own name")
        return self


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file. Raises `RecipeInvalid`, naming the file and the key."""
    return read_yaml(path, Recipe, RecipeInvalid)


def parse_recipe(value: object) -> Recipe:
    """A recipe from parsed YAML. Raises `RecipeInvalid`, naming the key."""
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        raise RecipeInvalid(sentence(error)) from error
