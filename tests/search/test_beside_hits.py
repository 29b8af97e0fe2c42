"""What a query counts beside its hits, compared with counting the items that pass its filter by hand."""

from collections import Counter
from collections.abc import Iterator

import pytest

from anyseek.search.engine import SearchEngine
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.types import Part, Query
from tests.search.engines import engine_over
from tests.search.gallery import text

COUNT = 60
LABELS = ["dog", "cat", "cow"]
MANY = tuple("abcdefghijklmnopqrstu")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    attributes = {f"item {n}": {"label": LABELS[n % 3], "n": n, "odd": n % 2 == 1} for n in range(COUNT)}
    with engine_over(tmp_path_factory.mktemp("facets"), lambda things: things.put_with(attributes)) as engine:
        yield engine


@pytest.mark.parametrize("where", [None, "n < 10", "label = dog and n > 50", "n > 100"])
def test_all_items_that_pass_the_filter_are_counted_however_few_are_hits(
    engine: SearchEngine, where: str | None
) -> None:
    wanted = None if where is None else filter_from_text(where)
    every = engine.query("things", Query((text("a"),), COUNT, where=wanted)).hits
    numbers = [hit.attributes["n"] for hit in every]
    asked = Query((text("a"),), 2, where=wanted, offset=1, min_score=1.0, facets=("n", "label", "odd"))
    by_n, by_label, by_odd = engine.query("things", asked).facets
    assert (by_n.field, by_n.items) == ("n", len(numbers))
    assert (by_n.least, by_n.most) == ((min(numbers), max(numbers)) if numbers else (None, None))
    labels = Counter(LABELS[number % 3] for number in numbers)
    assert {each.value: each.items for each in by_label.values} == labels
    assert {each.value: each.items for each in by_odd.values} == Counter(number % 2 == 1 for number in numbers)


def test_queries_of_words_and_groups_have_facets_too(engine: SearchEngine) -> None:
    by_words = engine.query("things", Query((Part("words", "item"),), facets=("label",), k=1))
    assert by_words.facets[0].items == COUNT
    in_groups = engine.query("things", Query((text("a"),), group_by="label", facets=("label",), k=1))
    assert [each.items for each in in_groups.facets[0].values] == [20, 20, 20]


def test_an_attribute_that_nothing_has_counts_nothing_and_is_told(engine: SearchEngine) -> None:
    results = engine.query("things", Query((text("a"),), facets=("labels", "label")))
    assert [counted.items for counted in results.facets] == [0, COUNT]
    assert results.note == "no item has the attribute 'labels'; did you mean label?"
