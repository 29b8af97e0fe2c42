"""RECIPE.yaml: the sources, the labellers, and how shards are cut. No torch."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from anyseek.model.data.errors import RecipeInvalid
from anyseek.model.data.registry import labeller_kind, source_kind
from anyseek.model.data.samples import Shares, Split, StrictModel

_Model = TypeVar("_Model", bound=StrictModel)


class LabellerRecipe(StrictModel):
    """One labeller, written `{kind: KIND, option: ...}`, or as its kind alone."""

    kind: str
    options: Any = None  # of the kind's own class

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, written: Any) -> Any:
        """Move what is written beside the fields into `options`."""
        if isinstance(written, str):
            written = {"kind": written}
        if not isinstance(written, Mapping):
            return written
        own = {key: value for key, value in written.items() if key in cls.model_fields and key != "options"}
        return {**own, "options": {key: value for key, value in written.items() if key not in own}}


class SourceRecipe(LabellerRecipe):
    """One source, called `name`, by default as its kind.

    At most `limit` samples are taken over all splits together; `weight` is passed on to training. `only` names the
    splits to take; by default all are taken.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9_-]*$")] = ""
    weight: Annotated[float, Field(ge=0)] = 1.0
    limit: Annotated[int, Field(ge=1)] | None = None
    only: tuple[Split, ...] = ()


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


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file. Raises `RecipeInvalid`, naming the file and the key, and `OSError`."""
    try:
        return parse_recipe(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (RecipeInvalid, yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeInvalid(f"{path}: {' '.join(str(error).split())}") from error


def parse_recipe(written: object) -> Recipe:
    """A recipe from what YAML holds. Raises `RecipeInvalid`, naming the key."""
    recipe = _read(Recipe, written)
    sources = tuple(
        source.model_copy(
            update={
                "name": source.name or source.kind,
                "options": _read(source_kind(source.kind).options, source.options, f"sources[{place}]", SourceRecipe),
            }
        )
        for place, source in enumerate(recipe.sources)
    )
    labellers = tuple(
        labeller.model_copy(
            update={"options": _read(labeller_kind(labeller.kind).options, labeller.options, f"labellers[{place}]")}
        )
        for place, labeller in enumerate(recipe.labellers)
    )
    names = [source.name for source in sources]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeInvalid(f"two sources are called {twice[0]!r}; give each a name of its own")
    return recipe.model_copy(update={"sources": sources, "labellers": labellers})


def _read(model: type[_Model], written: object, where: str = "", beside: type[StrictModel] = LabellerRecipe) -> _Model:
    """Check what is written at the path `where`; the fields of `beside` are further keys there."""
    try:
        return model.model_validate(written)
    except ValidationError as error:
        known = [*model.model_fields, *(beside.model_fields if where else ())]
        raise RecipeInvalid(_sentence(error, where, known)) from error


def _sentence(error: ValidationError, where: str, known: Collection[str]) -> str:
    """The first fault in one sentence, such as `sources[0].limit must be greater than or equal to 1, not 0`."""
    fault = error.errors()[0]
    path = where
    for part in fault["loc"] if fault["type"] != "extra_forbidden" else fault["loc"][:-1]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if fault["type"] == "missing":
        return f"{path} is missing"
    if fault["type"] == "extra_forbidden":
        key = str(fault["loc"][-1])
        near = get_close_matches(key, known, 1)
        hint = (
            f"did you mean {near[0]!r}?" if near else f"it has {', '.join(name for name in known if name != 'options')}"
        )
        return f"{path or 'the recipe'} has no setting {key!r}; {hint}"
    says = fault["msg"].removeprefix("Value error, ").replace("Input should", "must", 1).removeprefix("String should ")
    return f"{path or 'the recipe'} {' '.join(says.split())}, not {fault['input']!r:.60}"
