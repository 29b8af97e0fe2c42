"""The values of attributes are counted alike by the database and of items that pass a filter, on every database."""

import random
from typing import Any

import pytest

from anyseek.search.catalogue import facet_counts
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.types import FacetValue, FieldCounts
from tests.search.gallery import Things

COUNT = 300


def attributes(number: int) -> dict[str, Any]:
    chosen = random.Random(number)
    found: dict[str, Any] = {"n": number, "label": chosen.choice(["a", "B", "c", "ä", "d"])}
    if number % 2:
        found["tags"] = chosen.sample(["x", "y", "z", 3, True, False, 2.5], 3)
    if number % 5 == 0:
        found["taken"] = f"20{10 + number % 9}-05-01"
        found["place"] = {"lat": number / 100, "town": None}
    return found


@pytest.fixture
def things(things: Things) -> Things:
    things.put_with({f"k{number}": attributes(number) for number in range(COUNT)})
    return things


def counted(things: Things, where: str | None, *most: int) -> list[FieldCounts]:
    with things.database.read() as session:
        wanted = None if where is None else filter_from_text(where)
        return facet_counts.count(session, things.collection.id, *(most or (50, 20)), wanted)


@pytest.mark.parametrize("most", [(50, 20), (3, 2)])
def test_a_filter_that_all_pass_changes_nothing(things: Things, most: tuple[int, int]) -> None:
    assert counted(things, "@key exists", *most) == counted(things, None, *most)


def test_only_items_that_pass_count(things: Things) -> None:
    by_path = {found.field: found for found in counted(things, "n >= 100 and n < 120")}
    held = [attributes(number) for number in range(100, 120)]
    labels = [item["label"] for item in held]
    assert by_path["n"] == FieldCounts("n", 20, 0, (), (100.0, 119.0))
    assert {found.value: found.items for found in by_path["label"].values} == {
        each: labels.count(each) for each in labels
    }
    assert by_path["tags"].items == 10
    assert by_path["place.lat"].numbers == (1.0, 1.15)
    truths = sum(any(each is True for each in item.get("tags", [])) for item in held)
    assert truths
    assert [found for found in by_path["tags"].values if found.value is True] == [FacetValue(True, truths)]
    assert counted(things, "n < 0") == []
