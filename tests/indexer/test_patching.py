"""An item's attributes and caption changed where it is."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from anyseek.indexer.errors import BadAttributes
from anyseek.indexer.indexing import open_collection
from anyseek.indexer.patching import Patch, patch_item
from anyseek.indexer.put import delete_item, put_item
from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import OriginalChanged, RawFile
from anyseek.search.catalogue import collections, items
from anyseek.search.errors import BadInput, ItemChanged, ItemNotFound
from anyseek.search.types import Item, Part, Query
from anyseek.search.upkeep.rebuild import rebuild
from tests.indexer.harness import NAME, check_agreement, index, installation
from tests.indexer.pictures import png


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with installation(tmp_path / "home") as tools:
        open_collection(tools, NAME)
        yield tools


def patch(tools: Tools, key: str, change: Patch, *versions: str) -> Item:
    return patch_item(tools.database, lambda: tools, NAME, key, change, frozenset(versions) if versions else None)


def vectors(tools: Tools, key: str) -> np.ndarray:
    hits = tools.engine.query(NAME, Query((Part(item=key),), vectors=True)).hits
    return next(hit.vector for hit in hits if hit.key == key and hit.vector is not None)


def never() -> Tools:
    raise AssertionError("the model is not needed")


def test_attributes_change_without_the_model(tools: Tools) -> None:
    put_item(tools, NAME, "k", [RawFile("rgb", png(1), "a.png")], "a dog", {"n": 1})
    before = vectors(tools, "k")
    changed = patch_item(tools.database, never, NAME, "k", Patch({"n": 2, "tag": "x"}))
    assert changed.attributes.items() >= {"n": 2, "tag": "x"}.items()
    assert patch_item(tools.database, never, NAME, "k", Patch({"n": 3}, "a dog", True)).attributes["n"] == 3
    assert np.array_equal(vectors(tools, "k"), before)
    hits = tools.engine.query(NAME, Query((Part("caption", "a dog"),))).hits
    assert hits[0].attributes["n"] == 3
    assert patch(tools, "k", Patch(attributes=None)).attributes == {}
    check_agreement(tools)


def test_a_new_caption_is_embedded_with_the_files(tools: Tools) -> None:
    files = [RawFile("rgb", png(1), "a.png"), RawFile("caption", b"a dog", "a.txt")]
    put_item(tools, NAME, "k", files, None, {"n": 1})
    changed = patch(tools, "k", Patch({"n": 2}, "a zebra", True))
    assert (changed.caption, changed.attributes["n"], set(changed.assets)) == ("a zebra", 2, {"rgb", "thumbnail"})
    put_item(tools, NAME, "whole", [RawFile("rgb", png(1), "a.png")], "a zebra")
    assert np.allclose(vectors(tools, "k"), vectors(tools, "whole"), atol=1e-6)
    bare = patch(tools, "k", Patch({}, None, True))
    assert bare.caption is None
    put_item(tools, NAME, "picture", [RawFile("rgb", png(1), "a.png")])
    assert np.allclose(vectors(tools, "k"), vectors(tools, "picture"), atol=1e-6)
    check_agreement(tools)


def test_what_cannot_be_changed_stays_as_it_was(tools: Tools) -> None:
    held = put_item(tools, NAME, "words", [], "a dog", {"n": 1})
    with pytest.raises(BadInput, match="nothing that the model takes"):
        patch(tools, "words", Patch({"n": 2}, None, True))
    with pytest.raises(BadAttributes, match="65,536"):
        patch(tools, "words", Patch({"long": "x" * 70_000}))
    with pytest.raises(ItemChanged):
        patch(tools, "words", Patch({"n": 2}, "a cat", True), "9-9")
    with pytest.raises(ItemNotFound):
        patch(tools, "nobody", Patch({"n": 2}))
    with tools.database.read() as session:
        assert items.get(session, collections.get(session, NAME), "words") == held
    changed = patch(tools, "words", Patch({"n": 2}, "a cat", True), held.version)
    assert (changed.caption, changed.attributes) == ("a cat", {"n": 2})
    with tools.database.write() as session, pytest.raises(ItemChanged):
        delete_item(session, NAME, "words", frozenset({held.version}))


def test_a_caption_that_another_changes_meanwhile_is_made_again(tools: Tools) -> None:
    """The attributes that the other one set are not lost."""
    put_item(tools, NAME, "k", [], "a dog", {"n": 1})
    meanwhile = iter([{"other": 1}])

    def interrupted() -> Tools:
        for change in meanwhile:
            patch(tools, "k", Patch(change))
        return tools

    changed = patch_item(tools.database, interrupted, NAME, "k", Patch({"n": 2}, "a cat", True))
    assert (changed.caption, changed.attributes) == ("a cat", {"n": 2, "other": 1})


def test_items_of_a_folder_keep_their_patch_until_their_files_change(tools: Tools, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    (folder / "a.png.json").write_text(json.dumps({"caption": "a dog", "attributes": {"n": 1}}))
    index(tools, folder)
    patch(tools, "a.png", Patch({"rating": 5}, "a cat", True))
    index(tools, folder)
    with tools.database.read() as session:
        held = items.get(session, collections.get(session, NAME), "a.png")
    assert (held.caption, held.attributes["rating"]) == ("a cat", 5)
    rebuild(tools.database, tools.settings, NAME)
    check_agreement(tools)
    (folder / "a.png").write_bytes(png(2))
    with pytest.raises(OriginalChanged):
        patch(tools, "a.png", Patch({}, "a cow", True))
