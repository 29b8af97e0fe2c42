"""The best items of each group, compared with all items sorted by score, whatever the groups are."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from anyseek.search.answers.hits import select_groups
from anyseek.search.engine import SearchEngine
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import Filter
from anyseek.search.types import Hit, Query
from tests.search.engines import engine_over
from tests.search.gallery import text

COUNT = 300
EVERY = Query((text("item 7"),), k=COUNT)


def _attributes(number: int) -> dict[str, Any]:
    """Groups of every size and kind: lists, numbers, truth values, and items in none."""
    found: dict[str, Any] = {"thirty": number // 30, "even": number % 2 == 0}
    if number % 3:
        found["album"] = f"album {int(number**0.5)}"
    if number % 5 == 0:
        found["tags"] = ["five", f"mod {number % 7}"]
    if number == 150:
        found["rare"] = 1
    if number == 151:
        found["rare"] = True
    return found


@pytest.fixture(scope="module", params=["faiss", "qdrant"])
def each_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    attributes = {f"item {number}": _attributes(number) for number in range(COUNT)}
    home = tmp_path_factory.mktemp("groups")
    with engine_over(home, lambda things: things.put_with(attributes), request.param) as engine:
        yield engine


def _values(hit: Hit, field: str) -> list[Any]:
    value = hit.attributes.get(field, [])
    return value if isinstance(value, list) else [value]


def _expected(every: tuple[Hit, ...], query: Query) -> list[tuple[int, Any, str]]:
    """(rank, group, key) of the hits, from all items in order."""
    assert query.group_by is not None
    found: dict[tuple[type, Any], list[str]] = {}
    for hit in every:
        for value in _values(hit, query.group_by):
            found.setdefault((type(value), value), []).append(hit.key)
    ranked = list(enumerate(found.items(), 1))[query.offset : query.offset + query.k]
    return [(rank, value, key) for rank, ((_, value), held) in ranked for key in held[: query.group_size]]


@pytest.mark.parametrize("where", [None, filter_from_text("not even = true"), filter_from_text("thirty in (3, 4)")])
@pytest.mark.parametrize(
    ("field", "k", "offset", "size"),
    [
        ("album", 5, 0, 1),
        ("album", 10, 7, 3),
        ("album", 100, 0, 10),
        ("thirty", 9, 0, 2),
        ("thirty", 2, 8, 1),
        ("even", 2, 0, 4),
        ("tags", 4, 0, 2),
        ("rare", 5, 0, 1),
    ],
)
def test_groups_are_exact(
    each_engine: SearchEngine, where: Filter | None, field: str, k: int, offset: int, size: int
) -> None:
    every = each_engine.query("things", replace(EVERY, where=where)).hits
    query = Query((text("item 7"),), k, None, where, offset=offset, group_by=field, group_size=size)
    found = each_engine.query("things", query).hits
    got = [(hit.rank, hit.group, hit.key) for hit in found]
    assert got == _expected(every, query)
    if field == "rare" and where is None:
        assert sorted(map(repr, (hit.group for hit in found))) == ["1", "True"], "a number and a truth value are two"
    scores = {hit.key: hit.score for hit in every}
    assert [hit.score for hit in found] == pytest.approx([scores[hit.key] for hit in found], abs=1e-6)


def test_groups_end_at_the_least_score(each_engine: SearchEngine) -> None:
    every = each_engine.query("things", EVERY).hits
    least = every[40].score
    query = Query((text("item 7"),), k=COUNT, group_by="album", min_score=least)
    found = each_engine.query("things", query).hits
    assert [(hit.rank, hit.group, hit.key) for hit in found] == _expected(every[:41], query)


def test_as_few_items_are_looked_at_as_it_takes(each_engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[int] = []

    def counting(found: Any, *more: Any) -> Any:
        scored.append(len(found.scores))
        return select_groups(found, *more)

    monkeypatch.setattr("anyseek.search.engine.select_groups", counting)
    each_engine.query("things", Query((text("item 7"),), k=2, group_by="thirty"))
    assert scored == [100]
    each_engine.query("things", Query((text("item 7"),), k=1, group_by="thirty", group_size=25))
    assert scored == [100, 100, COUNT]


def test_an_attribute_that_nothing_has_is_told(each_engine: SearchEngine) -> None:
    results = each_engine.query("things", Query((text("item 7"),), group_by="albums"))
    assert results.hits == ()
    assert results.note == "no item has the attribute 'albums'; did you mean album?"
