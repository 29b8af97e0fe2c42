"""Maps of collections: who is on them, what is left out, and that a layout is made once."""

from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import update

import anyseek.search.maps
from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import items
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import ItemRow, LogRow
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadInput, CollectionNotFound, SpaceNotFound
from anyseek.search.maps import MapRequest
from anyseek.search.settings import Settings
from anyseek.search.types import Collection, NewItem
from tests.search.gallery import DIMENSION, SPACES, WordsEmbedder, remove, unit

COUNT = 24


@pytest.fixture
def engine(database: Database, settings: Settings, collection: Collection) -> Iterator[SearchEngine]:
    """An engine over a collection of items of three kinds."""
    random = np.random.default_rng(0)
    new = []
    for number in range(COUNT):
        vector = np.eye(3, DIMENSION, dtype=np.float32)[number % 3] + 0.1 * random.normal(size=DIMENSION)
        attributes = {"kind": f"kind {number % 3}", "camera": {"make": "x"}} if number else {}
        vectors = {space: unit(vector.astype(np.float32)) for space in SPACES}
        new.append(NewItem(f"{number:02}", f"hash of {number}", vectors, None, attributes))
    with database.write() as session:
        items.write(session, collection, new)
    opened = SearchEngine(database, settings, WordsEmbedder())
    yield opened
    opened.close()


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many vectors each layout that is made has."""
    made: list[int] = []
    real = anyseek.search.maps.project

    def counted(vectors: FloatArray) -> FloatArray:
        made.append(len(vectors))
        return real(vectors)

    monkeypatch.setattr(anyseek.search.maps, "project", counted)
    return made


def test_every_item_has_a_place_and_its_value(engine: SearchEngine, collection: Collection) -> None:
    found = engine.map(collection.name, MapRequest(colour_by="kind"))
    assert [place.key for place in found.places] == [f"{number:02}" for number in range(COUNT)]
    assert [place.value for place in found.places[:3]] == [None, "kind 1", "kind 2"]
    assert (found.items, found.left_out, found.space in SPACES) == (COUNT, 0, True)
    assert all(abs(place.x) <= 1 and abs(place.y) <= 1 for place in found.places)


def test_a_layout_is_made_once_until_the_collection_changes(
    engine: SearchEngine, collection: Collection, database: Database, laid_out: list[int]
) -> None:
    first = engine.map(collection.name, MapRequest())
    assert engine.map(collection.name, MapRequest(colour_by="kind")).places[1].x == first.places[1].x
    assert laid_out == [COUNT]
    engine.map(collection.name, MapRequest(seed=1))
    engine.map(collection.name, MapRequest(limit=10))
    assert laid_out == [COUNT, COUNT, 10]
    remove(database, collection, ["03"])
    assert len(engine.map(collection.name, MapRequest()).places) == COUNT - 1
    assert laid_out[-1] == COUNT - 1


def test_a_map_is_made_once_until_an_attribute_changes(
    engine: SearchEngine, collection: Collection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = engine.map(collection.name, MapRequest(colour_by="kind"))
    assert engine.map(collection.name, MapRequest(colour_by="kind")) is first
    with database.write() as session:
        items.change_attributes(session, collection, "05", lambda held: {**held, "kind": "another"})
    assert engine.map(collection.name, MapRequest(colour_by="kind")).places[5].value == "another"


def test_of_too_many_items_a_sample_is_shown(engine: SearchEngine, collection: Collection) -> None:
    some = engine.map(collection.name, MapRequest(limit=10))
    assert (len(some.places), some.items) == (10, COUNT)
    assert some == engine.map(collection.name, MapRequest(limit=10))
    keys = [place.key for place in some.places]
    assert keys == sorted(keys)
    assert keys != [place.key for place in engine.map(collection.name, MapRequest(limit=10, seed=5)).places]


def test_damaged_items_are_left_out_and_counted(
    engine: SearchEngine, collection: Collection, database: Database
) -> None:
    with database.write() as session:
        wrong = np.ones(DIMENSION, "<f4").tobytes()
        session.execute(update(LogRow).where(LogRow.item_id == 2).values(vector=wrong))
        session.execute(update(ItemRow).where(ItemRow.id == 4).values(caption="something else"))
    found = engine.map(collection.name, MapRequest())
    assert (len(found.places), found.items, found.left_out) == (COUNT - 2, COUNT, 2)
    assert not {"01", "03"} & {place.key for place in found.places}


def test_an_empty_collection_has_no_places(database: Database, settings: Settings, collection: Collection) -> None:
    found = SearchEngine(database, settings, WordsEmbedder()).map(collection.name, MapRequest())
    assert (found.places, found.items, found.left_out) == ((), 0, 0)


@pytest.mark.parametrize(
    ("wanted", "refused", "said"),
    [
        (MapRequest(space="nowhere"), SpaceNotFound, "nowhere"),
        (MapRequest(colour_by="knd"), BadInput, "did you mean kind"),
        (MapRequest(colour_by="camera"), BadInput, "inside it"),
        (MapRequest(colour_by=""), BadInput, "field"),
        (MapRequest(colour_by="@key"), BadInput, "cannot be coloured by '@key', which is not an attribute"),
        (MapRequest(limit=0), BadInput, "1 to 20,000"),
        (MapRequest(limit=20_001), BadInput, "1 to 20,000"),
    ],
)
def test_what_cannot_be_mapped_is_one_sentence(
    engine: SearchEngine, collection: Collection, wanted: MapRequest, refused: type[Exception], said: str
) -> None:
    with pytest.raises(refused, match=said):
        engine.map(collection.name, wanted)
    with pytest.raises(CollectionNotFound):
        engine.map("nothing", MapRequest())
