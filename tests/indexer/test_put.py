"""One item put by hand: findable at once, its files kept."""

import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import delete

from anyseek.indexer.errors import BadAttributes, DecodeError
from anyseek.indexer.put import Patch, delete_item, patch_item, put_item, rebuild_items, thumbnail_of
from anyseek.indexer.runs import IndexerContext
from anyseek.indexer.samples import OriginalChanged, RawFile, class_names, read_originals
from anyseek.model.seam import FloatArray, Regions, Value
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.errors import (
    BadInput,
    CollectionNotFound,
    ItemChanged,
    ItemNotFound,
    KeyHeldElsewhere,
    StoreCorrupt,
)
from anyseek.search.types import Item, Part, Query
from anyseek.search.upkeep.rebuild import rebuild
from anyseek.search.upkeep.verify import verify
from tests.indexer.harness import NAME, check_agreement, given, held, index
from tests.indexer.pictures import encoded, folder_of, noise, png, write


def picture(seed: int) -> RawFile:
    return RawFile("rgb", png(seed), "upload.png")


def test_what_is_put_is_found(context: IndexerContext) -> None:
    for seed in range(3):
        put_item(context, NAME, str(seed), [picture(seed)], None, {"seed": seed})
    hit = context.engine.query(NAME, Query((Part("rgb", np.asarray(noise(1))),), k=1)).hits[0]
    with context.database.read() as session:
        item = items.get(session, collections.get(session, NAME), hit.key)
    assert (item.key, given(item), item.source_id) == ("1", {"seed": 1}, None)
    original = item.assets["rgb"]
    assert (original.stored, original.media_type, context.assets.read(original)) == (True, "image/png", png(1))
    assert item.assets["thumbnail"].media_type == "image/jpeg"
    check_agreement(context)


def test_the_same_again_writes_nothing_and_another_replaces(context: IndexerContext) -> None:
    first = put_item(context, NAME, "k", [picture(1)], "a caption")
    assert put_item(context, NAME, "k", [picture(1)], "a caption") == first
    second = put_item(context, NAME, "k", [picture(2)], "another")
    assert (second.id, second.revision, second.caption) == (first.id, first.revision + 1, "another")
    check_agreement(context)


def test_words_alone_are_an_item(context: IndexerContext) -> None:
    item = put_item(context, NAME, "words", [], "a red bicycle")
    assert item.assets == {}
    hits = context.engine.query(NAME, Query((Part("caption", "bicycle"),), k=5)).hits
    assert [hit.key for hit in hits] == ["words"]


def test_what_is_refused(context: IndexerContext, tmp_path: Path) -> None:
    with pytest.raises(CollectionNotFound):
        put_item(context, "nothing", "k", [picture(1)])
    with pytest.raises(DecodeError):
        put_item(context, NAME, "k", [RawFile("rgb", b"words", "upload.png")])
    with pytest.raises(BadInput, match="twice"):
        put_item(context, NAME, "k", [picture(1), picture(2)])
    with pytest.raises(BadInput, match="no modality that the model hashing takes"):
        put_item(context, NAME, "k", [RawFile("normal", png(1), "n.png")])
    index(context, folder_of(tmp_path / "photos", [0]))
    with pytest.raises(KeyHeldElsewhere):
        put_item(context, NAME, "0.png", [picture(1)])
    assert set(held(context)) == {"0.png"}
    check_agreement(context)


def patch(context: IndexerContext, key: str, change: Patch, *versions: str) -> Item:
    return patch_item(context.database, lambda: context, NAME, key, change, frozenset(versions) if versions else None)


def vectors(context: IndexerContext, key: str) -> np.ndarray:
    hits = context.engine.query(NAME, Query((Part(item=key),), vectors=True)).hits
    return next(hit.vector for hit in hits if hit.key == key and hit.vector is not None)


def never() -> IndexerContext:
    raise AssertionError("the model is not needed")


def test_attributes_change_without_the_model(context: IndexerContext) -> None:
    put_item(context, NAME, "k", [RawFile("rgb", png(1), "a.png")], "a dog", {"n": 1})
    before = vectors(context, "k")
    changed = patch_item(context.database, never, NAME, "k", Patch({"n": 2, "tag": "x"}))
    assert changed.attributes.items() >= {"n": 2, "tag": "x"}.items()
    assert patch_item(context.database, never, NAME, "k", Patch({"n": 3}, "a dog", True)).attributes["n"] == 3
    assert np.array_equal(vectors(context, "k"), before)
    hits = context.engine.query(NAME, Query((Part("caption", "a dog"),))).hits
    assert hits[0].attributes["n"] == 3
    assert patch(context, "k", Patch(attributes=None)).attributes == {}
    check_agreement(context)


def test_a_new_caption_is_embedded_with_the_files(context: IndexerContext) -> None:
    files = [RawFile("rgb", png(1), "a.png"), RawFile("caption", b"a dog", "a.txt")]
    put_item(context, NAME, "k", files, None, {"n": 1})
    changed = patch(context, "k", Patch({"n": 2}, "a zebra", True))
    assert (changed.caption, changed.attributes["n"], set(changed.assets)) == ("a zebra", 2, {"rgb", "thumbnail"})
    put_item(context, NAME, "whole", [RawFile("rgb", png(1), "a.png")], "a zebra")
    assert np.allclose(vectors(context, "k"), vectors(context, "whole"), atol=1e-6)
    bare = patch(context, "k", Patch({}, None, True))
    assert bare.caption is None
    put_item(context, NAME, "picture", [RawFile("rgb", png(1), "a.png")])
    assert np.allclose(vectors(context, "k"), vectors(context, "picture"), atol=1e-6)
    check_agreement(context)


def test_what_cannot_be_changed_stays_as_it_was(context: IndexerContext) -> None:
    held = put_item(context, NAME, "words", [], "a dog", {"n": 1})
    with pytest.raises(BadInput, match="nothing that the model takes"):
        patch(context, "words", Patch({"n": 2}, None, True))
    with pytest.raises(BadAttributes, match="65,536"):
        patch(context, "words", Patch({"long": "x" * 70_000}))
    with pytest.raises(ItemChanged):
        patch(context, "words", Patch({"n": 2}, "a cat", True), "9-9")
    with pytest.raises(ItemNotFound):
        patch(context, "nobody", Patch({"n": 2}))
    with context.database.read() as session:
        assert items.get(session, collections.get(session, NAME), "words") == held
    changed = patch(context, "words", Patch({"n": 2}, "a cat", True), held.version)
    assert (changed.caption, changed.attributes) == ("a cat", {"n": 2})
    with context.database.write() as session, pytest.raises(ItemChanged):
        delete_item(session, NAME, "words", frozenset({held.version}))


def test_a_caption_that_another_changes_meanwhile_is_made_again(context: IndexerContext) -> None:
    """The attributes that the other one set are not lost."""
    put_item(context, NAME, "k", [], "a dog", {"n": 1})
    meanwhile = iter([{"other": 1}])

    def interrupted() -> IndexerContext:
        for change in meanwhile:
            patch(context, "k", Patch(change))
        return context

    changed = patch_item(context.database, interrupted, NAME, "k", Patch({"n": 2}, "a cat", True))
    assert (changed.caption, changed.attributes) == ("a cat", {"n": 2, "other": 1})


def test_items_of_a_folder_keep_their_patch_until_their_files_change(context: IndexerContext, tmp_path: Path) -> None:
    folder = write(tmp_path / "photos", {"a.png": 1, "a.png.json": {"caption": "a dog", "attributes": {"n": 1}}})
    index(context, folder)
    patch(context, "a.png", Patch({"rating": 5}, "a cat", True))
    index(context, folder)
    with context.database.read() as session:
        held = items.get(session, collections.get(session, NAME), "a.png")
    assert (held.caption, held.attributes["rating"]) == ("a cat", 5)
    rebuild(context.database, context.settings, NAME)
    check_agreement(context)
    (folder / "a.png").write_bytes(png(2))
    with pytest.raises(OriginalChanged):
        patch(context, "a.png", Patch({}, "a cow", True))


NAMES = {0: "wall", 1: "sofa", 7: "Fußboden"}


def _regions() -> bytes:
    return encoded(Image.fromarray(np.repeat(np.array([[0, 1, 7]], np.uint8), 3, axis=0)), "PNG")


def _names_in(item: Item, context: IndexerContext) -> object:
    value = read_originals(item, context.assets, context.settings.limits)["semseg"]
    assert isinstance(value, Regions)
    return dict(value.classes)


def test_names_of_an_item_that_was_put(context: IndexerContext) -> None:
    picture, regions = RawFile("rgb", png(1), "a.png"), RawFile("semseg", _regions(), "a.regions.png", NAMES)
    item = put_item(context, NAME, "k", [picture, regions])
    assert set(item.assets) == {"rgb", "semseg", "semseg.classes", "thumbnail"}
    assert _names_in(item, context) == NAMES
    assert put_item(context, NAME, "k", [picture, regions]) == item, "the same again writes nothing"
    other = put_item(context, NAME, "l", [picture, regions])
    assert other.assets["semseg.classes"].location == item.assets["semseg.classes"].location
    unnamed = put_item(context, NAME, "without", [picture, RawFile("semseg", _regions(), "a.png")])
    assert set(unnamed.assets) == {"rgb", "semseg", "thumbnail"}
    assert (class_names(unnamed, "semseg", context.assets), _names_in(unnamed, context)) == ({}, {})
    check_agreement(context)
    context.assets.path(item.assets["semseg.classes"]).write_text('{"0": "ceiling"}')
    with pytest.raises(StoreCorrupt, match=r"semseg\.classes"):
        read_originals(item, context.assets, context.settings.limits)


def test_names_of_an_item_of_a_folder(context: IndexerContext, tmp_path: Path) -> None:
    described = {"file": "a.png", "modalities": {"semseg": {"file": "a.regions.png", "classes": NAMES}}}
    index(context, write(tmp_path / "pictures", {"a.png": 1, "a.regions.png": _regions(), "manifest.jsonl": described}))
    (item,) = held(context).values()
    assert _names_in(item, context) == NAMES
    made = rebuild_items(lambda: context, [item])[item.key]
    assert "semseg.classes" in {asset.name for asset in made.assets}, "an item that is made anew keeps them"


STEP = np.repeat(np.repeat(np.array([[1.0, 5.0]], np.float32), 64, axis=0), 64, axis=1)
HALVES = Regions(STEP.astype(np.uint8), {1: "wall", 5: "sky"})


def shown(values: dict[str, Value]) -> FloatArray:
    small = thumbnail_of(values)
    assert small is not None
    return np.asarray(Image.open(io.BytesIO(small)), np.float32)


def test_a_photo_goes_before_maps_and_words_have_no_picture() -> None:
    red = np.full((64, 64, 3), (200, 20, 20), np.uint8)
    assert np.abs(shown({"depth": STEP, "semseg": HALVES, "rgb": red}) - (200, 20, 20)).max() < 10
    assert np.ptp(shown({"depth": STEP, "semseg": HALVES}), axis=2).max() > 20, "the segmentation"
    assert thumbnail_of({"caption": "a wall"}) is None
    assert thumbnail_of({}) is None


def test_an_item_of_a_drawing_alone_has_a_thumbnail_that_is_made_again(context: IndexerContext) -> None:
    item = put_item(context, NAME, "k", [RawFile("canny_edge", png(1), "a.png")])
    assert set(item.assets) == {"canny_edge", "thumbnail"}
    stored = context.assets.path(item.assets["thumbnail"])
    before = stored.read_bytes()
    stored.unlink()
    assert verify(context.database, context.settings)
    rebuild(context.database, context.settings, NAME, lambda items: rebuild_items(lambda: context, items))
    assert stored.read_bytes() == before
    assert verify(context.database, context.settings) == []


def test_lost_vectors_and_thumbnails_come_back_from_the_originals(context: IndexerContext, tmp_path: Path) -> None:
    def mend() -> list[str]:
        return rebuild(context.database, context.settings, NAME, partial(rebuild_items, lambda: context))

    def lose_vectors(*keys: str) -> None:
        with context.database.write() as session:
            session.execute(delete(LogRow).where(LogRow.item_id.in_([before[key].id for key in keys])))

    index(context, folder_of(tmp_path / "photos", range(3)))
    put_item(context, NAME, "put", [RawFile("rgb", png(7), "upload.png")], "a caption", {"n": 1})
    before = held(context)
    assert rebuild(context.database, context.settings, NAME, partial(rebuild_items, never)) == [], "loads no model"
    lose_vectors("1.png", "put")
    context.assets.path(before["2.png"].assets["thumbnail"]).unlink()
    assert verify(context.database, context.settings)
    assert mend() == []
    check_agreement(context)
    after = held(context)
    assert after.keys() == before.keys()
    assert (after["put"].caption, given(after["put"])) == ("a caption", {"n": 1})
    lose_vectors("0.png", "1.png")
    (tmp_path / "photos" / "0.png").unlink()
    assert mend() == ["0.png"], "whose original is gone too"
