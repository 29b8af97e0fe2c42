"""A config becomes dataclasses, or one sentence says what is wrong and where."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.config_reader import (
    AboveZero,
    Alone,
    Bounds,
    Key,
    NamedBy,
    Positive,
    ReadBy,
    Refused,
    Share,
    Texts,
    read,
    read_file,
)
from anyseek.model.data.errors import RecipeInvalid


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Optimiser:
    rate: AboveZero
    betas: tuple[Share, Share] = (0.5, 0.9)
    clip: Positive | None = None

    def __post_init__(self) -> None:
        if self.betas[0] > self.betas[1]:
            raise Refused("betas", "must rise")
        if self.clip == 13:
            raise ValueError("13 is no lucky number")


@dataclass(frozen=True)
class Part:
    name: str
    size: Positive = 1


def _doubled(written: object, where: str) -> str:
    if not isinstance(written, str):
        raise Refused(where, "must be doubled")
    return written * 2


@dataclass(frozen=True)
class Config:
    optimiser: Optimiser
    source: Annotated[Path, Key("from")] = Path("here")
    steps: Positive = 1
    on: bool = False
    colour: Colour = Colour.RED
    fields: Texts = ()
    sizes: Annotated[tuple[Positive, ...], Alone()] = ()
    owned: Mapping[str, Texts] = field(default_factory=dict)
    parts: Annotated[tuple[Part, ...], NamedBy("name")] = ()
    text: Annotated[str, ReadBy(_doubled)] = ""
    anything: Any = None


def _read(**written: object) -> Config:
    return read(Config, {"optimiser": {"rate": 1}, **written})


def test_every_kind_of_value_is_read() -> None:
    config = _read(
        optimiser={"rate": "1e-4", "betas": [0, "0.5"], "clip": None},
        steps="1e9",
        on=True,
        colour="blue",
        fields="rgb",
        sizes=[1, 2.0],
        owned={"a": "x", "b": ["y", "z"]},
        parts={"first": {}, "second": {"size": 3}},
        text="ab",
        anything={"a": [1]},
    )
    assert config.optimiser == Optimiser(1e-4, (0.0, 0.5))
    assert (config.steps, config.on, config.colour) == (1_000_000_000, True, Colour.BLUE)
    assert (config.fields, config.sizes, config.owned) == (("rgb",), (1, 2), {"a": ("x",), "b": ("y", "z")})
    assert config.parts == (Part("first"), Part("second", 3))
    assert (config.text, config.anything) == ("abab", {"a": [1]})
    assert read(Config, {"optimiser": {"rate": 1}, "from": "there"}).source == Path("there")


def test_a_large_whole_number_stays_exact() -> None:
    assert _read(steps=2**60 + 1).steps == 2**60 + 1


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"step": 1}, "the config has no setting 'step'; did you mean 'steps'?"),
        ({"source": "x"}, "the config has no setting 'source'; it has optimiser, from, steps"),
        ({"optimiser": {}}, "optimiser.rate is missing"),
        ({"optimiser": 5}, "optimiser must map names to values; it is 5"),
        ({"optimiser": {"rate": 0}}, "optimiser.rate must be a number above 0, not 0"),
        ({"optimiser": {"rate": "nan"}}, "optimiser.rate must be a number above 0, not 'nan'"),
        ({"optimiser": {"rate": True}}, "optimiser.rate must be a number above 0, not True"),
        ({"optimiser": {"rate": 1, "betas": [0.5, 2]}}, "optimiser.betas[1] must be a number from 0 to 1, not 2"),
        ({"optimiser": {"rate": 1, "betas": [0.5]}}, "optimiser.betas must be a list of 2, not [0.5]"),
        ({"optimiser": {"rate": 1, "betas": [0.5, 0.1]}}, "optimiser.betas must rise"),
        ({"optimiser": {"rate": 1, "clip": 13}}, "optimiser cannot be: 13 is no lucky number"),
        ({"steps": 1.5}, "steps must be a whole number of at least 1, not 1.5"),
        ({"steps": None}, "steps must be a whole number of at least 1, not None"),
        ({"on": "yes"}, "on must be true or false, not 'yes'"),
        ({"on": 1}, "on must be true or false, not 1"),
        ({"colour": "green"}, "colour must be one of red, blue, not 'green'"),
        ({"from": ""}, "from must be a path, not ''"),
        ({"fields": [1]}, "fields[0] must be a text, not 1"),
        ({"owned": ["a"]}, "owned must be a mapping of names to values, not ['a']"),
        ({"owned": {"a": 1}}, "owned.a must be a text, not 1"),
        ({"parts": {}}, "parts must be a mapping with at least one name, not {}"),
        ({"parts": {"first": {"name": "x"}}}, "parts.first has no setting 'name'; its name says it"),
        ({"parts": {"first": {"size": 0}}}, "parts.first.size must be a whole number of at least 1, not 0"),
        ({"text": 1}, "text must be doubled"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(written: dict[str, object], says: str) -> None:
    with pytest.raises(Refused) as refused:
        _read(**written)
    assert str(refused.value).startswith(says)


def test_bounds_are_said_in_words() -> None:
    bounds = (Bounds(), Bounds(most=3), Bounds(2), Bounds(2, above=True), Bounds(0, 1))
    assert [str(one) for one in bounds] == ["", " of at most 3", " of at least 2", " above 2", " from 0 to 1"]


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\t", "optimiser: {rate: fast}"])
def test_a_file_is_refused_by_its_name_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(RecipeInvalid, match=r"config\.yaml") as refused:
        read_file(Config, path, RecipeInvalid)
    assert "\n" not in str(refused.value)
    with pytest.raises(RecipeInvalid, match="cannot be read"):
        read_file(Config, tmp_path / "none.yaml", RecipeInvalid)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rate", "name", "a"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["optimiser", "steps", "sizes", "owned", "parts", "from", "colour"]), VALUES))
def test_whatever_is_written_is_a_config_or_refused(written: dict[str, object]) -> None:
    with suppress(Refused):
        assert read(Config, written).optimiser.rate > 0
