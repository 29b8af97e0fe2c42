"""A YAML file becomes a config, or one sentence says what is wrong and where."""

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from anyseek.model.config import (
    AboveZero,
    Config,
    Positive,
    Share,
    Texts,
    partial_model,
    read_yaml,
    sentence,
    written_values,
)
from anyseek.model.data.errors import RecipeInvalid


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Optimiser(Config):
    rate: AboveZero
    betas: tuple[Share, Share] = (0.5, 0.9)
    clip: Positive | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.betas[0] > self.betas[1]:
            raise ValueError("betas must rise")
        return self


class Whole(Config):
    optimiser: Optimiser
    source: Path = Field(default=Path("here"), alias="from")
    steps: Positive = 1
    shuffled: bool = False
    colour: Colour = Colour.RED
    fields: Texts = ()
    owned: dict[str, Texts] = Field(default_factory=dict)
    parts: tuple[Optimiser, ...] = ()


def _read(folder: Path, text: str) -> Whole:
    path = folder / "config.yaml"
    path.write_text(text)
    return read_yaml(path, Whole, RecipeInvalid)


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    text = """
    optimiser: {rate: 1e-4, betas: [0, 0.5], clip: null}
    from: there
    steps: 500e9
    shuffled: true
    colour: blue
    fields: rgb
    owned: {a: x, b: [y, z]}
    parts: [{rate: 1_000}]
    """
    config = _read(tmp_path, text)
    assert config.optimiser == Optimiser(rate=1e-4, betas=(0.0, 0.5))
    assert (config.steps, config.shuffled, config.colour) == (500_000_000_000, True, Colour.BLUE)
    assert (config.source, config.fields, config.owned) == (Path("there"), ("rgb",), {"a": ("x",), "b": ("y", "z")})
    assert config.parts == (Optimiser(rate=1000),)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("step: 1", "the config has no setting 'step'; did you mean 'steps'?"),
        ("source: x", "the config has no setting 'source'; it has optimiser, from, steps"),
        ("3: x", "the config has no setting '3'; it has"),
        ("optimiser: {}", "optimiser.rate is missing"),
        ("optimiser: 5", "optimiser must map names to values, not 5"),
        ("optimiser: {rate: 0}", "optimiser.rate must be greater than 0, not 0"),
        ("optimiser: {rate: .nan}", "optimiser.rate must be a finite number, not nan"),
        ("optimiser: {rate: true}", "optimiser.rate must be a number, not True"),
        ("optimiser: {rate: fast}", "optimiser.rate must be a valid number, not 'fast'"),
        ("optimiser: {rate: 1, betas: [0.5, 2]}", "optimiser.betas[1] must be less than or equal to 1, not 2"),
        ("optimiser: {rate: 1, betas: [0.5]}", "optimiser.betas[1] is missing"),
        ("optimiser: {rate: 1, betas: 0.5}", "optimiser.betas must be a list, not 0.5"),
        ("optimiser: {rate: 1, betas: [0.5, 0.1]}", "optimiser.betas must rise"),
        ("steps: 1.5", "steps must be a valid integer, not 1.5"),
        ("steps: null", "steps must be a valid integer, not None"),
        ("shuffled: maybe", "shuffled must be a valid boolean, not 'maybe'"),
        ("colour: green", "colour must be 'red' or 'blue', not 'green'"),
        ("fields: [1]", "fields[0] must be a valid string, not 1"),
        ("owned: [a]", "owned must map names to values, not ['a']"),
        ("parts: [{rate: 1}, {rate: 1, rat: 2}]", "parts[1] has no setting 'rat'; did you mean 'rate'?"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tmp_path: Path, written: str, says: str) -> None:
    usual = "" if written.startswith("optimiser") else "optimiser: {rate: 1}\n"
    with pytest.raises(RecipeInvalid) as refused:
        _read(tmp_path, usual + written)
    assert str(refused.value).startswith(f"{tmp_path / 'config.yaml'}: {says}")


BOMB = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))])


@pytest.mark.parametrize(
    "text",
    ["a: [", "- 1", "", "\t", "a: 2020-13-45", "[" * 1500, "!!python/object:os.x {}", "\0", BOMB, "optimiser: &a [*a]"],
)
def test_a_file_is_refused_by_its_name_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeInvalid, match=r"config\.yaml") as refused:
        _read(tmp_path, text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000
    with pytest.raises(RecipeInvalid, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml", Whole, RecipeInvalid)


@dataclass(frozen=True)
class Shape:
    width: int
    act: str = "SiLU"
    key: str = ""


def test_a_dataclass_may_be_written_in_part() -> None:
    model = partial_model(Shape, ("key",))
    assert written_values(model, {"width": 3}) == {"width": 3}
    with pytest.raises(ValidationError) as refused:
        written_values(model, {"widht": 3})
    assert sentence(refused.value) == "the config has no setting 'widht'; did you mean 'width'?"


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rate", "name", "a"]), inner),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["optimiser", "steps", "owned", "parts", "from", "colour"]), VALUES))
def test_whatever_is_written_is_a_config_or_refused(written: dict[str, object]) -> None:
    with suppress(ValidationError):
        assert Whole.model_validate(written).optimiser.rate > 0
