"""One item put by hand: findable at once, its files kept."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from anyseek.indexer.errors import DecodeError
from anyseek.indexer.indexing import open_collection
from anyseek.indexer.put import put_item
from anyseek.indexer.runs import Tools
from anyseek.indexer.samples import RawFile
from anyseek.search.catalogue import collections, items
from anyseek.search.errors import BadInput, CollectionNotFound, KeyHeldElsewhere
from anyseek.search.types import Part, Query
from tests.indexer.harness import NAME, check_agreement, given, held, index, installation
from tests.indexer.pictures import noise, png


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with installation(tmp_path / "home") as tools:
        open_collection(tools, NAME)
        yield tools


def picture(seed: int) -> RawFile:
    return RawFile("rgb", png(seed), "upload.png")


def test_what_is_put_is_found(tools: Tools) -> None:
    for seed in range(3):
        put_item(tools, NAME, str(seed), [picture(seed)], None, {"seed": seed})
    hit = tools.engine.query(NAME, Query((Part("rgb", np.asarray(noise(1))),), k=1)).hits[0]
    with tools.database.read() as session:
        item = items.get(session, collections.get(session, NAME), hit.key)
    assert (item.key, given(item), item.source_id) == ("1", {"seed": 1}, None)
    original = item.assets["rgb"]
    assert (original.stored, original.media_type, tools.assets.read(original)) == (True, "image/png", png(1))
    assert item.assets["thumbnail"].media_type == "image/jpeg"
    check_agreement(tools)


def test_the_same_again_writes_nothing_and_another_replaces(tools: Tools) -> None:
    first = put_item(tools, NAME, "k", [picture(1)], "a caption")
    assert put_item(tools, NAME, "k", [picture(1)], "a caption") == first
    second = put_item(tools, NAME, "k", [picture(2)], "another")
    assert (second.id, second.revision, second.caption) == (first.id, first.revision + 1, "another")
    check_agreement(tools)


def test_words_alone_are_an_item(tools: Tools) -> None:
    item = put_item(tools, NAME, "words", [], "a red bicycle")
    assert item.assets == {}
    hits = tools.engine.query(NAME, Query((Part("caption", "bicycle"),), k=5)).hits
    assert [hit.key for hit in hits] == ["words"]


def test_what_is_refused(tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(CollectionNotFound):
        put_item(tools, "nothing", "k", [picture(1)])
    with pytest.raises(DecodeError):
        put_item(tools, NAME, "k", [RawFile("rgb", b"words", "upload.png")])
    with pytest.raises(BadInput, match="twice"):
        put_item(tools, NAME, "k", [picture(1), picture(2)])
    with pytest.raises(BadInput, match="no modality that the model hashing takes"):
        put_item(tools, NAME, "k", [RawFile("normal", png(1), "n.png")])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/0.png").write_bytes(png(0))
    index(tools, tmp_path / "photos")
    with pytest.raises(KeyHeldElsewhere):
        put_item(tools, NAME, "0.png", [picture(1)])
    assert set(held(tools)) == {"0.png"}
    check_agreement(tools)
