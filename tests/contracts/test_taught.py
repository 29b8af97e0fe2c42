"""Taught facets on every database: learned from few items, applied to all, never over the user's own."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.seam import Embedder
from anyseek.search.catalogue import checks, collections, facets, items, taught
from anyseek.search.catalogue.derived_tables import FACETS
from anyseek.search.catalogue.taught import Example, TaughtFacet, TaughtNotFound, TaughtTaken
from anyseek.search.errors import BadInput, ItemNotFound, LimitExceeded
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.filters.tree import checked
from anyseek.search.taught import teaching
from anyseek.search.taught.learning import Kind, Label
from anyseek.search.taught.teaching import NothingToLearn
from anyseek.search.types import NewItem
from tests.search.gallery import SPACES, Things, direction, unit

KINDS = ("kitchen", "garden", "street")


def photo(things: Things, key: str) -> NewItem:
    """An item whose vectors are near those of its kind, which its key begins with; the place in it moves it."""
    kind, _, number = key.partition(" ")
    noise = np.random.default_rng(int(number)).standard_normal(16)
    vectors = {space: unit(direction(kind, space) + 0.12 * noise.astype(np.float32)) for space in SPACES}
    return replace(things.new(key), vectors=vectors, attributes={"number": int(number)})


@pytest.fixture
def photos(things: Things) -> Things:
    things.write([photo(things, f"{kind} {number}") for kind in KINDS for number in range(20)])
    return things


def no_model() -> Embedder:
    raise AssertionError("learning from items needs no model")


def teach(things: Things, labels: dict[str, Label], name: str = "place") -> TaughtFacet:
    changes = [(Example(label, key), False) for key, label in labels.items()]
    teaching.teach(things.database, things.collection.name, name, changes, no_model)
    teaching.apply(things.database, things.collection.name, name)
    with things.database.read() as session:
        return taught.get(session, things.collection, name)


def places(numbers: Sequence[int] = range(5)) -> dict[str, Label]:
    return {f"{kind} {number}": kind for kind in KINDS for number in numbers}


def matching(things: Things, where: str) -> list[str]:
    with things.database.read() as session:
        ids = facets.matching_ids(session, things.collection.id, checked(filter_from_text(where))).tolist()
        return [item.key for item in items.by_ids(session, ids).values()]


def value(things: Things, key: str, name: str = "place") -> object:
    return things.item(key).attributes["taught"][name]["value"]


def test_classes_are_applied_to_all_items_and_to_new_ones(photos: Things) -> None:
    facet = teach(photos, places())
    assert (facet.kind, facet.applied_id, facet.version) == (Kind.CLASSES, None, 1)
    assert facet.held_out is not None
    assert facet.held_out.low < facet.held_out.value == 1 == facet.held_out.high
    assert facet.held_out.examples == 15
    for kind in KINDS:
        assert len(matching(photos, f"taught.place.value = {kind}")) == 20
    assert photos.item("garden 7").attributes["number"] == 7
    photos.write([photo(photos, "street 99")])
    assert value(photos, "street 99") == "street"
    photos.write([replace(photo(photos, "garden 7"), vectors=photo(photos, "kitchen 7").vectors)])
    assert value(photos, "garden 7") == "kitchen"
    with photos.database.read() as session:
        assert not list(checks.stale_keys(session, collections.head(session, "things"), FACETS))


def test_values_change_no_revision_and_readers_see_them_in_the_log(photos: Things) -> None:
    before, last = photos.item("garden 7"), photos.head.last_seq
    teach(photos, places())
    assert photos.item("garden 7").version == before.version
    assert photos.head.last_seq == last + 60
    teach(photos, {})  # nothing that it says is new
    assert photos.head.last_seq == last + 60


def test_a_corrected_example_has_its_label_at_once(photos: Things) -> None:
    cosy: dict[str, Label] = {f"kitchen {number}": True for number in range(6)}
    facet = teach(photos, cosy, "cosy")
    assert facet.held_out is None  # nobody has said what is not cosy
    found = matching(photos, "taught.cosy.value = true")
    assert {f"kitchen {number}" for number in range(20)} >= set(found) >= set(cosy)
    facet = teach(photos, {"kitchen 9": False, "street 0": False}, "cosy")
    assert photos.item("kitchen 9").attributes["taught"]["cosy"] == {"value": False, "yes": 0.0}
    assert (len(facet.examples), facet.version) == (8, 2)
    assert facet.held_out is not None


def test_numbers_are_learned_by_ridge(photos: Things) -> None:
    worth = {"kitchen": 30.0, "garden": 10.0, "street": -5.0}
    facet = teach(photos, {f"{kind} {n}": price for kind, price in worth.items() for n in range(6)}, "worth")
    assert facet.held_out is not None
    assert (facet.held_out.measure, facet.held_out.value < 5) == ("mean absolute error", True)
    with photos.database.read() as session:
        guess = items.get(session, photos.collection, "kitchen 15").attributes["taught"]["worth"]["value"]
    assert abs(guess - 30) < 8


def test_killed_in_the_middle_it_goes_on(photos: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "_PAGE", 25)
    changes = [(Example(label, key), False) for key, label in places().items()]
    teaching.teach(photos.database, "things", "place", changes, no_model)
    assert not teaching.apply(photos.database, "things", "place", seconds=-1)
    with photos.database.read() as session:
        applied = taught.get(session, photos.collection, "place").applied_id
    assert applied
    assert len(matching(photos, "taught.place.value exists")) == 25
    teaching.refresh(photos.database, "things", no_model)
    assert len(matching(photos, "taught.place.value exists")) == 60
    assert not teaching.forget(photos.database, "things", "place", seconds=-1)
    teaching.refresh(photos.database, "things", no_model)
    assert not matching(photos, "taught exists")
    with photos.database.read() as session, pytest.raises(TaughtNotFound):
        taught.get(session, photos.collection, "place")


def test_users_keep_their_attributes_and_cannot_remove_taught_ones(photos: Things) -> None:
    teach(photos, places())
    with photos.database.write() as session:
        items.change_attributes(session, photos.collection, "garden 7", lambda held: {"mine": True})
    assert photos.item("garden 7").attributes["mine"] is True
    assert value(photos, "garden 7") == "garden"


def test_an_attribute_of_the_users_own_is_never_written_over(things: Things) -> None:
    things.put_with({"a": {"taught": {"place": "mine"}}, "b": {}})
    with pytest.raises(TaughtTaken, match="of their own"):
        teach(things, {"a": "x", "b": "y"})
    assert things.item("a").attributes == {"taught": {"place": "mine"}}


def test_what_cannot_be_learned_is_refused(photos: Things) -> None:
    for labels, error in (
        ({"kitchen 1": "a", "kitchen 2": "a"}, NothingToLearn),
        ({"kitchen 1": False}, NothingToLearn),
        ({"kitchen 1": 3.0, "kitchen 2": 3.0}, NothingToLearn),
        ({"kitchen 1": 3.0, "kitchen 2": "a"}, BadInput),
        ({"kitchen 1": float("nan"), "kitchen 2": 1.0}, BadInput),
        ({"kitchen 1": "x" * 201, "kitchen 2": "y"}, BadInput),
        ({"nothing 1": "a", "kitchen 2": "b"}, ItemNotFound),
        ({}, NothingToLearn),
    ):
        with pytest.raises(error):
            teach(photos, labels)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="cannot be the name"):
        teach(photos, places(), "no.dots")
    with pytest.raises(LimitExceeded, match="classes"):
        teaching.kind_of([Example(str(number), str(number)) for number in range(teaching.MAX_CLASSES + 1)])


def test_suggestions_are_doubtful_and_reasons_are_alike(photos: Things) -> None:
    blend = {space: unit(direction("kitchen", space) + direction("garden", space)) for space in SPACES}
    photos.write([replace(photo(photos, "between 1"), vectors=blend)])
    teach(photos, places(range(3)))
    with photos.database.read() as session:
        suggested = teaching.suggest(session, "things", "place", 5)
        reason = teaching.explain(session, "things", "place", "garden 11")
    assert suggested[0] == "between 1"
    assert len(set(suggested) - places(range(3)).keys()) == 5
    assert reason.value == "garden"
    assert (reason.certainty or 0) > 0.5
    assert set(reason.like) == {"garden 0", "garden 1", "garden 2"}


def test_captions_teach_too(photos: Things) -> None:
    changes = [(Example(kind, caption=kind), False) for kind in KINDS]
    teaching.teach(photos.database, "things", "place", changes, lambda: photos.embedder)
    teaching.apply(photos.database, "things", "place")
    with photos.database.read() as session:
        assert taught.get(session, photos.collection, "place").held_out is None
    right = [value(photos, f"{kind} {number}") == kind for kind in KINDS for number in range(20)]
    assert np.mean(right) > 0.9


def test_other_vectors_are_learned_from_anew(photos: Things) -> None:
    teach(photos, places())
    with photos.database.read() as session:
        held = collections.get(session, "things")
        other = replace(held, spaces={n: replace(s, fingerprint="other") for n, s in held.spaces.items()})
        assert taught.with_values(session, other, [photo(photos, "garden 7")])[0].attributes == {"number": 7}
