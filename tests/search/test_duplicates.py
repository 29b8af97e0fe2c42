"""Near-duplicates: what is linked, which is best, that links do not chain, and what is said of what is damaged."""

import io
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update

import anyseek.search.duplicates
import anyseek.search.engine
from anyseek.model.seam import FloatArray
from anyseek.search.assets.folder import FolderAssetStore
from anyseek.search.catalogue import items
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import LogRow
from anyseek.search.duplicates import Duplicates
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery, CollectionNotFound, FingerprintMismatch
from anyseek.search.settings import Settings
from anyseek.search.types import Asset, Collection, NewItem
from tests.search.answers.test_image_similarity import alike, scene
from tests.search.gallery import DIMENSION, SPACES, WordsEmbedder, remove, unit

Put = Callable[..., None]


def direction(number: int) -> FloatArray:
    return np.eye(1, DIMENSION, number, dtype=np.float32)[0]


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.fixture
def put(database: Database, collection: Collection, store: FolderAssetStore) -> Put:
    """Puts a picture with a thumbnail of it and its vector; `file` stands for the bytes of the original."""

    def put_one(
        key: str,
        picture: Image.Image | None,
        vector: FloatArray,
        file: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        size: int = 1000,
    ) -> None:
        made = [Asset("rgb", f"/photos/{key}", False, "image/jpeg", file or f"file of {key}", size)]
        if picture is not None:
            made.append(store.put("thumbnail", jpeg(picture), "image/jpeg"))
        vectors = {space: unit(vector) for space in SPACES}
        new = NewItem(key, f"hash of {key}", vectors, None, attributes or {}, tuple(made))
        with database.write() as session:
            items.write(session, collection, [new])

    return put_one


@pytest.fixture
def find(
    database: Database, settings: Settings, collection: Collection, store: FolderAssetStore
) -> Callable[[], Duplicates]:
    return lambda: SearchEngine(database, settings, WordsEmbedder()).duplicates("things", store)


def groups_of(found: Duplicates) -> list[list[str]]:
    return [[group.best.key, *(copy.item.key for copy in group.copies)] for group in found.groups]


Find = Callable[[], Duplicates]


def test_an_empty_collection_one_picture_and_items_without_pictures_have_none(
    put: Put, find: Find, database: Database, collection: Collection
) -> None:
    assert (find().groups, find().pictures) == ((), 0)
    put("a", scene(1), direction(1))
    with database.write() as session:
        vectors = {space: direction(1) for space in SPACES}
        items.write(session, collection, [NewItem(key, key, vectors, "the same words") for key in ("x", "y")])
    found = find()
    assert (found.groups, found.pictures, found.left_out, found.space) == ((), 1, 0, "looks")


def test_copies_are_linked_and_the_largest_is_best(put: Put, find: Find) -> None:
    near = direction(1) + 0.1 * direction(2)
    put("small", scene(1).resize((80, 80)), direction(1), attributes={"width": 80, "height": 80})
    put("large", scene(1), near, attributes={"width": 160, "height": 160})
    put("cropped", scene(1).crop((8, 8, 152, 152)), near, attributes={"width": 144, "height": 144})
    put("other", scene(2), direction(1), attributes={"width": 900, "height": 900})
    found = find()
    (group,) = found.groups
    assert (group.best.key, {copy.item.key for copy in group.copies}) == ("large", {"small", "cropped"})
    assert all(
        anyseek.search.duplicates.MIN_IMAGE_SIMILARITY <= copy.likeness <= 1
        and 0.4 <= copy.cosine <= 1
        and not copy.same_file
        for copy in group.copies
    )


def test_of_equal_size_the_larger_file_is_best_then_the_earlier(put: Put, find: Find) -> None:
    put("late", scene(1), direction(1), attributes={"taken": "2024-05-02T10:00:00"}, size=500)
    put("early", scene(1), direction(1), attributes={"taken": "2024-05-01T10:00:00"}, size=500)
    put("undated", scene(1), direction(1), size=500)
    put("odd", scene(1), direction(1), attributes={"width": "wide", "height": [1], "taken": 7}, size=500)
    assert groups_of(find())[0][0] == "early"
    put("heavy", scene(1), direction(1), size=900)
    assert groups_of(find())[0][0] == "heavy"


def test_near_vectors_alone_or_likeness_alone_link_nothing(put: Put, find: Find) -> None:
    put("a", scene(1), direction(1))
    put("of its kind", scene(2), direction(1))
    put("of its layout", scene(1), direction(2) - direction(1))
    assert find().groups == ()


def test_equal_files_are_linked_whatever_else_is_lost(put: Put, find: Find) -> None:
    put("a", None, direction(1), file="same")
    put("b", None, direction(2), file="same")
    put("c", scene(3), direction(3), file="same")
    (group,) = find().groups
    assert [(copy.item.key, copy.same_file, copy.likeness) for copy in group.copies] == [
        ("b", True, 1.0),
        ("c", True, 1.0),
    ]


def test_links_do_not_chain(put: Put, find: Find) -> None:
    """Each crop is like the one before and not like the sixth before; a chain of links would hold all of them."""
    crops = [scene(1, 320).crop((5 * n, 5 * n, 160 - 5 * n, 160 - 5 * n)) for n in range(11)]
    assert all(alike(*pair) >= anyseek.search.duplicates.MIN_IMAGE_SIMILARITY for pair in itertools.pairwise(crops))
    for number, crop in enumerate(crops):
        put(f"{number:02}", crop, direction(1))
    found = find()
    assert len(found.groups) >= 2
    assert len(found.groups) >= 3
    for group in found.groups:
        assert all(copy.likeness >= anyseek.search.duplicates.MIN_IMAGE_SIMILARITY for copy in group.copies)
    keys = [key for group in groups_of(found) for key in group]
    assert len(keys) == len(set(keys))


def test_more_copies_than_are_looked_at_first_are_all_found(put: Put, find: Find) -> None:
    for number in range(40):
        put(f"{number:02}", scene(1), direction(1), size=2000 - number)
    assert groups_of(find()) == [[f"{number:02}" for number in range(40)]]


def test_pictures_over_several_blocks_are_found(put: Put, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyseek.search.duplicates, "_BATCH", 3)
    monkeypatch.setattr(anyseek.search.duplicates, "_MAX_VIEWS", 2)
    for number in range(12):
        put(f"{number:02}", scene(number % 6), direction(number % 6))
    assert groups_of(find()) == [[f"{number:02}", f"{number + 6:02}"] for number in range(6)]


def test_a_deleted_copy_is_gone(put: Put, find: Find, database: Database, collection: Collection) -> None:
    for key in "abc":
        put(key, scene(1), direction(1))
    remove(database, collection, ["b"])
    assert groups_of(find()) == [["a", "c"]]


def test_damaged_vectors_and_thumbnails_are_counted(
    put: Put, find: Find, database: Database, store: FolderAssetStore
) -> None:
    for key, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 3), ("f", 3)):
        put(key, scene(seed), direction(seed))
    with database.write() as session:
        session.execute(update(LogRow).where(LogRow.seq == 1).values(vector=b"damaged"))  # of a
    thumbnails = [path for path in store.root.glob("*/*") if path.read_bytes() == jpeg(scene(2))]
    for path in thumbnails:
        path.write_bytes(b"damaged")
    found = find()
    assert groups_of(found) == [["e", "f"]]
    assert (found.pictures, found.left_out) == (6, 3)


def test_they_are_found_once_until_the_collection_changes(
    put: Put,
    database: Database,
    settings: Settings,
    collection: Collection,
    store: FolderAssetStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find, times = anyseek.search.duplicates.find_duplicates, list[None]()

    def counted(*given: Any) -> Duplicates:
        times.append(None)
        return find(*given)

    monkeypatch.setattr(anyseek.search.engine, "find_duplicates", counted)
    engine = SearchEngine(database, settings, WordsEmbedder())
    for key in ("a", "b"):
        put(key, scene(1), direction(1), attributes={"width": 10, "height": 10 + (key == "b")})
    first = engine.duplicates("things", store)
    assert groups_of(first) == [["b", "a"]]
    assert first.groups[0].best.attributes == {}
    assert engine.duplicates("things", store) is first
    assert len(times) == 1
    with database.write() as session:
        items.change_attributes(session, collection, "a", lambda held: {**held, "height": 90})
    assert groups_of(engine.duplicates("things", store)) == [["a", "b"]]
    remove(database, collection, ["a"])
    assert groups_of(engine.duplicates("things", store)) == []
    assert len(times) == 3


def test_the_index_and_all_vectors_give_the_same_groups(put: Put, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, copy in itertools.product(range(12), "ab"):
        near = direction(number) + 0.2 * direction(number + 1) + (0.05 if copy == "b" else 0) * direction(number + 2)
        put(f"{number:02} {copy}", scene(number), near)
    compared = groups_of(find())
    assert len(compared) == 12
    monkeypatch.setattr(anyseek.search.duplicates, "_MAX_BRUTE_FORCE", 0)
    assert groups_of(find()) == compared


def test_what_cannot_be_compared_is_refused(
    put: Put, database: Database, settings: Settings, store: FolderAssetStore
) -> None:
    put("a", scene(1), direction(1))
    with pytest.raises(CollectionNotFound, match="nowhere"):
        SearchEngine(database, settings, WordsEmbedder()).duplicates("nowhere", store)
    with pytest.raises(FingerprintMismatch, match="other weights"):
        SearchEngine(database, settings, WordsEmbedder("words-2")).duplicates("things", store)
    blind = WordsEmbedder()
    blind.modalities = frozenset({"caption"})
    with pytest.raises(BadQuery, match="does not take rgb"):
        SearchEngine(database, settings, blind).duplicates("things", store)
