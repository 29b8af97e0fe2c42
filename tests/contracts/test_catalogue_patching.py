"""The catalogue keeps its promises on every database: changing an item's attributes where it is."""

import threading
from typing import Any

import pytest

from anyseek.search.catalogue import facets, items, words
from anyseek.search.errors import ItemChanged, ItemNotFound
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import checked
from anyseek.search.types import Item
from tests.contracts.catalogue import PICTURE, entries
from tests.search.gallery import Things


def patch(things: Things, key: str, change: dict[str, Any], *versions: str) -> Item:
    wanted = frozenset(versions) if versions else None
    with things.database.write() as session:
        return items.change_attributes(
            session, things.collection, key, lambda held: items.merge_patch(held, change), wanted
        )


@pytest.mark.parametrize(
    ("held", "change", "result"),
    [  # of RFC 7396, appendix A, those whose patch is an object
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "b"}, {"a": {"c": 1}}, {"a": {"c": 1}}),
    ],
)
def test_patches_are_merged_as_the_rfc_says(held: Any, change: Any, result: Any) -> None:
    before = repr(held)
    assert items.merge_patch(held, change) == result
    assert repr(held) == before


def test_a_patch_changes_attributes_alone(things: Things) -> None:
    (held,) = things.write([things.new("x", "old", [PICTURE])])
    newest = entries(things)[-1][0]
    changed = patch(things, "x", {"rating": 5, "words": None, "tag": "fresh"})
    assert (changed.attributes, changed.revision) == ({"rating": 5, "tag": "fresh"}, 2)
    assert things.item("x") == changed
    assert (changed.id, changed.caption, changed.assets) == (held.id, "old", held.assets)
    assert entries(things, newest) == [(newest + 1, "payload", held.id, None)]
    with things.database.read() as session:
        found = [
            facets.matching_ids(session, things.collection.id, checked(filter_from_text(where))).tolist()
            for where in ("rating = 5", "words exists")
        ]
        assert found == [[held.id], []]
        ranked = words.WordSearch(session, things.collection.id).ranked("fresh", None, 5)
        assert ranked.tolist() == [[held.id, 1]]


def test_a_patch_that_changes_nothing_writes_nothing(things: Things) -> None:
    (held,) = things.put(["x"])
    before = entries(things)
    assert patch(things, "x", {"words": "x", "gone": None}) == held
    assert entries(things) == before


def test_a_patch_of_another_version_is_refused(things: Things) -> None:
    (held,) = things.put(["x"])
    changed = patch(things, "x", {"n": 1}, "9-9", held.version)
    with pytest.raises(ItemChanged, match=f"it is now {changed.version}"):
        patch(things, "x", {"n": 2}, held.version)
    assert patch(things, "x", {"n": 3}, "*").attributes["n"] == 3
    with pytest.raises(ItemNotFound, match="nobody"):
        patch(things, "nobody", {"n": 1})


def test_a_key_that_another_item_has_got_is_another_version(things: Things) -> None:
    (held,) = things.put(["x"])
    with things.database.write() as session:
        items.delete(session, things.collection, ["x"])
        items.check_unchanged(session, things.collection, "x", None)
        with pytest.raises(ItemChanged, match="there is no such item"):
            items.check_unchanged(session, things.collection, "x", frozenset({"*"}))
    things.put(["x"])
    with pytest.raises(ItemChanged):
        patch(things, "x", {"n": 1}, held.version)


def test_patches_at_once_are_all_made(things: Things) -> None:
    things.put(["x"])
    threads = [threading.Thread(target=patch, args=(things, "x", {f"n{number}": number})) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = things.item("x")
    assert held.attributes == {"words": "x"} | {f"n{number}": number for number in range(8)}
    assert held.revision == 9
