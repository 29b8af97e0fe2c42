"""The catalogue keeps its promises on every database: changing an item's attributes where it is."""

import threading
from typing import Any

import pytest

from anyseek.search.catalogue import facets, items, words
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import ItemChanged, ItemNotFound
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import checked
from anyseek.search.types import Collection, Item
from tests.contracts.catalogue import PICTURE, entries
from tests.search.gallery import WordsEmbedder, item_of, new_item, put


def patch(database: Database, collection: Collection, key: str, change: dict[str, Any], *versions: str) -> Item:
    with database.write() as session:
        return items.change_attributes(
            session, collection, key, lambda held: items.merged(held, change), frozenset(versions) if versions else None
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
    assert items.merged(held, change) == result
    assert repr(held) == before


def test_a_patch_changes_attributes_alone(database: Database, embedder: WordsEmbedder, collection: Collection) -> None:
    with database.write() as session:
        (held,) = items.write(session, collection, [new_item(embedder, "x", "old", [PICTURE])])
    newest = entries(database, collection)[-1][0]
    changed = patch(database, collection, "x", {"rating": 5, "words": None, "tag": "fresh"})
    assert (changed.attributes, changed.revision) == ({"rating": 5, "tag": "fresh"}, 2)
    assert item_of(database, collection, "x") == changed
    assert (changed.id, changed.caption, changed.assets) == (held.id, "old", held.assets)
    assert entries(database, collection, newest) == [(newest + 1, "payload", held.id, None)]
    with database.read() as session:
        found = [
            facets.ids_where(session, collection.id, checked(filter_from_text(where))).tolist()
            for where in ("rating = 5", "words exists")
        ]
        assert found == [[held.id], []]
        assert words.WordSearch(session, collection.id).ranked("fresh", None, 5).tolist() == [[held.id, 1]]


def test_a_patch_that_changes_nothing_writes_nothing(
    database: Database, embedder: WordsEmbedder, collection: Collection
) -> None:
    (held,) = put(database, collection, embedder, ["x"])
    before = entries(database, collection)
    assert patch(database, collection, "x", {"words": "x", "gone": None}) == held
    assert entries(database, collection) == before


def test_a_patch_of_another_version_is_refused(
    database: Database, embedder: WordsEmbedder, collection: Collection
) -> None:
    (held,) = put(database, collection, embedder, ["x"])
    changed = patch(database, collection, "x", {"n": 1}, "9-9", held.version)
    with pytest.raises(ItemChanged, match=f"it is now {changed.version}"):
        patch(database, collection, "x", {"n": 2}, held.version)
    assert patch(database, collection, "x", {"n": 3}, "*").attributes["n"] == 3
    with pytest.raises(ItemNotFound, match="nobody"):
        patch(database, collection, "nobody", {"n": 1})


def test_a_key_that_another_item_has_got_is_another_version(
    database: Database, embedder: WordsEmbedder, collection: Collection
) -> None:
    (held,) = put(database, collection, embedder, ["x"])
    with database.write() as session:
        items.delete(session, collection, ["x"])
        items.check_unchanged(session, collection, "x", None)
        with pytest.raises(ItemChanged, match="there is no such item"):
            items.check_unchanged(session, collection, "x", frozenset({"*"}))
    put(database, collection, embedder, ["x"])
    with pytest.raises(ItemChanged):
        patch(database, collection, "x", {"n": 1}, held.version)


def test_patches_at_once_are_all_made(database: Database, embedder: WordsEmbedder, collection: Collection) -> None:
    put(database, collection, embedder, ["x"])
    threads = [
        threading.Thread(target=patch, args=(database, collection, "x", {f"n{number}": number})) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = item_of(database, collection, "x")
    assert held.attributes == {"words": "x"} | {f"n{number}": number for number in range(8)}
    assert held.revision == 9
