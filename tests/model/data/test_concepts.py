import pytest

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import (
    base_concept,
    has_skin_tone,
    hexcodes_by_name,
    parse_concepts,
    plain_hexcode,
    split_of,
)


@pytest.mark.parametrize(
    ("hexcode", "base"),
    [
        ("1F355", "1F355"),
        ("270b-fe0f", "270B"),
        ("270B-1F3FD", "270B"),
        ("1F469-200D-1F373", "1F9D1-200D-1F373"),
        ("1F468-1F3FB-200D-1F373", "1F9D1-200D-1F373"),
        ("1F471-200D-2640-FE0F", "1F471"),
        ("2640-FE0F", "2640"),
        ("1F467", "1F9D2"),
    ],
)
def test_skin_tones_and_genders_share_a_concept(hexcode: str, base: str) -> None:
    assert base_concept(hexcode) == base


def test_a_concept_never_lies_in_two_splits() -> None:
    for woman, man in (
        ("1F469-200D-1F373", "1F468-1F3FF-200D-1F373"),
        ("1F474", "1F475"),
        ("1F6B4-200D-2640", "1F6B4"),
    ):
        assert split_of(woman) is split_of(man)


def test_splits_have_about_their_shares() -> None:
    splits = [split_of(f"{0x1F300 + n:X}") for n in range(1000)]
    assert 0.12 < splits.count(Split.TEST) / 1000 < 0.18
    assert 0.03 < splits.count(Split.VAL) / 1000 < 0.07


def test_splits_are_fixed() -> None:
    assert split_of("1F355") is Split.TRAIN
    assert split_of("2615") is Split.VAL
    assert split_of("1F431") is Split.VAL


def test_skin_tones_are_known() -> None:
    assert has_skin_tone("270B-1F3FD")
    assert has_skin_tone("1F3FB")
    assert not has_skin_tone("270B")
    assert plain_hexcode("263a-fe0f") == "263A"


def test_concepts_carry_tags_and_short_names() -> None:
    table = [{"hexcode": "270B-FE0F", "label": "raised hand", "tags": ["stop"]}, {"hexcode": "1F355", "label": "pizza"}]
    concepts = parse_concepts(table, {"270B": ["hand_up", "stop"], "1F355": "pizza_slice"})
    assert concepts["270B"].tags == ("stop", "hand up")
    assert concepts["1F355"].tags == ("pizza slice",)
    names = hexcodes_by_name(concepts)
    assert names["raisedhand"] == "270B"
    assert names["sliceofpizza"] == "1F355"
