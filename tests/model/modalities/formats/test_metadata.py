"""Metadata: every field to its bin and back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.modalities.formats.metadata import FIELDS, Count, Metadata, metadata_from_text, metadata_to_text
from anyseek.model.modalities.formats.spans import FormatInvalid

numbers = st.floats(-1e6, 1e6)


@given(st.dictionaries(st.sampled_from(list(FIELDS)), numbers))
def test_reading_and_writing_again_changes_nothing(values: dict[str, float]) -> None:
    text = metadata_to_text(Metadata(values))
    back = metadata_from_text(text)
    assert list(back.values) == list(values)
    assert metadata_to_text(back) == text


@pytest.mark.parametrize("name", FIELDS)
def test_every_bin_stands_for_a_value_in_it(name: str) -> None:
    field = FIELDS[name]
    values = [field.from_bin(number) for number in range(1000)]
    used = [value for value in values if value is not None]
    assert used == sorted(used)
    assert [field.to_bin(value) for value in used] == list(range(len(used)))


@given(st.integers(0, 999))
def test_counts_are_exact(value: int) -> None:
    assert Count().from_bin(Count().to_bin(value)) == value


def test_what_is_no_pair_of_a_field_is_left_out() -> None:
    read = metadata_from_text("v1=16 v0=12 v1=99 v0=3 v1=5 bus v0=7 v1=19 v0=5 v1=16 v0=13 v1=5 v0=2 [EOS]")
    assert read.values == {"semantic_diversity": 12, "n_humans": 2}


def test_an_unknown_field_and_a_value_that_is_no_number_are_refused() -> None:
    with pytest.raises(FormatInvalid, match="'smell'"):
        Metadata({"smell": 1.0})
    with pytest.raises(FormatInvalid, match="nan"):
        metadata_to_text(Metadata({"brightness": math.nan}))
