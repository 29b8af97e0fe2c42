"""Colours of values: frequent ones have their own, many numbers a scale, and the legend counts all items."""

from anyseek.api.maps.colours import NONE, OTHER, coloured


def told(legend: object) -> list[tuple[str, int]]:
    return [(meaning.label, meaning.items) for meaning in legend]  # type: ignore[attr-defined]


def test_the_most_frequent_values_have_colours_of_their_own() -> None:
    values = [f"value {number}" for number in range(12) for _ in range(12 - number)] + [None]
    found = coloured(values)
    assert told(found.legend[:2]) == [("value 0", 12), ("value 1", 11)]
    assert told(found.legend[-2:]) == [("3 other values", 6), ("none", 1)]
    assert len(set(found.colours)) == 11
    assert found.colours[-2:] == (OTHER, NONE)
    assert sum(meaning.items for meaning in found.legend) == len(values)


def test_many_numbers_have_a_scale() -> None:
    found = coloured([None, *(float(number) for number in range(50))])
    assert told(found.legend) == [(f"{low} to {low + 9}", 10) for low in range(0, 50, 10)] + [("none", 1)]
    assert found.colours[1] == found.legend[0].colour != found.colours[-1]


def test_times_have_a_scale_of_dates() -> None:
    found = coloured([f"20{year:02}-05-01T12:00:00" for year in range(10, 30)])
    assert told(found.legend)[0] == ("2010-05-01 to 2013-05-01", 4)


def test_few_numbers_truths_and_texts_are_values() -> None:
    assert told(coloured([1.0, 2.0, 2.0]).legend) == [("2", 2), ("1", 1)]
    assert told(coloured([True, False, True]).legend) == [("true", 2), ("false", 1)]
    assert told(coloured(["a\nb", "2024"]).legend) == [("2024", 1), ("a\N{REPLACEMENT CHARACTER}b", 1)]
    assert coloured(["x" * 90]).legend[0].label == "x" * 39 + "\N{HORIZONTAL ELLIPSIS}"
    assert coloured([]).legend == ()


def test_the_widest_and_the_most_unequal_numbers_have_a_scale() -> None:
    wide = [-1.7e308, 1.7e308, *(5e-324 * number for number in range(20))]
    found = coloured(wide)
    assert sum(meaning.items for meaning in found.legend) == len(wide)
    unequal = coloured([0.0] * 500 + [float(number) for number in range(11)])
    assert sum(meaning.items for meaning in unequal.legend) == 511
