"""The hits of an ambiguous query fall into readings, and those of a clear one do not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery, FingerprintMismatch
from anyseek.search.readings import MOST, clusters, splits
from anyseek.search.readings import readings as read
from anyseek.search.settings import Settings
from anyseek.search.types import Attributes, Collection, Item, Query, Words
from tests.search.gallery import WordsEmbedder, text, unit


def blob(seed: int, count: int, towards: Sequence[int], spread: float = 0.15) -> FloatArray:
    """`count` unit rows around the sum of axes, in 64 dimensions."""
    rows = spread * np.random.default_rng(seed).standard_normal((count, 64)).astype(np.float32)
    rows[:, list(towards)] += 1
    return unit(rows)


def items_of(rows: FloatArray, captions: Sequence[str]) -> tuple[list[Item], dict[int, FloatArray]]:
    held = [Item(n, f"item-{n}", None, "", caption, {}, 1) for n, caption in enumerate(captions)]
    return held, dict(enumerate(rows))


def interleaved(first: FloatArray, second: FloatArray) -> FloatArray:
    return np.stack([row for pair in zip(first, second, strict=True) for row in pair])


def test_two_clusters_are_two_readings_in_the_order_of_their_best_hits() -> None:
    rows = interleaved(blob(1, 12, (0, 1)), blob(2, 12, (0, 2)))
    held, vectors = items_of(rows, ["a bat in a cave", "a bat and a ball"] * 12)
    first, second = read(WordsEmbedder(), "means", held, vectors)
    assert (first.name, second.name) == ("cave", "ball")  # what both have names neither
    assert (first.size, second.size) == (12, 12)
    assert first.keys == tuple(f"item-{n}" for n in range(0, 24, 2))
    assert second.keys == tuple(f"item-{n}" for n in range(1, 24, 2))


def test_the_same_hits_have_the_same_readings_whatever_their_order() -> None:
    rows = interleaved(blob(1, 12, (0, 1)), blob(2, 12, (0, 2)))
    held, vectors = items_of(rows, ["a cave", "a ball"] * 12)
    found = read(WordsEmbedder(), "means", held, vectors)
    turned = read(WordsEmbedder(), "means", held[::-1], vectors)
    assert {frozenset(one.keys) for one in found} == {frozenset(one.keys) for one in turned}
    assert found == read(WordsEmbedder(), "means", held, vectors)


@pytest.mark.parametrize("seed", range(5))
def test_one_blob_has_one_reading(seed: int) -> None:
    rows = blob(seed, 50, (0,))
    assert len(clusters(rows.astype(np.float64))) == 1
    held, vectors = items_of(rows, ["a cave"] * 50)
    assert read(WordsEmbedder(), "means", held, vectors) == ()


def test_three_clusters_are_three_and_no_more_than_the_most() -> None:
    three = np.concatenate([blob(n, 15, (n,), 0.05) for n in range(3)]).astype(np.float64)
    assert len(clusters(three)) == 3
    many = np.concatenate([blob(n, 8, (n,), 0.02) for n in range(6)]).astype(np.float64)
    assert len(clusters(many)) == MOST


def test_duplicates_are_one_reading_and_do_not_hide_another() -> None:
    same = np.repeat(blob(1, 1, (0, 1)), 20, axis=0).astype(np.float64)
    assert len(clusters(same)) == 1
    both = np.concatenate([same, np.repeat(blob(2, 1, (2,)), 10, axis=0)])
    assert len(clusters(both)) == 2
    opposite = np.concatenate([same[:5], -same[:5]])  # whose sum has no direction
    assert len(clusters(opposite)) == 2


def test_a_few_strange_hits_are_no_reading() -> None:
    rows = np.concatenate([blob(1, 30, (0, 1)), blob(2, 2, (5,))]).astype(np.float64)
    assert len(clusters(rows)) == 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_too_few_hits_have_no_readings(count: int) -> None:
    held, vectors = items_of(np.eye(64, dtype=np.float32)[:count], ["a cave"] * count)
    assert read(WordsEmbedder(), "means", held, vectors) == ()


def test_items_without_a_vector_are_in_no_reading() -> None:
    rows = interleaved(blob(1, 12, (0, 1)), blob(2, 12, (0, 2)))
    held, vectors = items_of(rows, ["a cave", "a ball"] * 12)
    del vectors[0]
    vectors[1] = np.zeros(64, np.float32)
    found = read(WordsEmbedder(), "means", held, vectors)
    assert [one.size for one in found] == [11, 11]
    assert not {"item-0", "item-1"} & {key for one in found for key in one.keys}


def test_what_chance_explains_is_no_gain() -> None:
    same = np.ones((9, 4)) / 2
    assert next(splits(same)).gain == pytest.approx(0, abs=1e-9)
    apart = next(splits(np.repeat(np.eye(2), 10, axis=0)))
    # From Q(1) = 1 / sqrt(2) to 1, while two clusters by chance have sqrt(9 / 19 + 2 / 20 * 10 / 19).
    assert apart.gain == pytest.approx(1 - (9 / 19 + 2 * (10 / 19) / 20) ** 0.5)
    assert apart.fewest == 10


class Naming(WordsEmbedder):
    """Knows a word for each axis."""

    naming_spaces = frozenset({"means"})

    def names(self, vectors: FloatArray, space: str, most: int) -> list[tuple[str, ...]]:
        return [tuple(f"axis {axis}" for axis in np.argsort(-row)[:2]) for row in vectors]


def test_what_no_words_of_items_tell_is_named_by_the_model_or_by_the_best_item() -> None:
    rows = interleaved(blob(1, 12, (0, 1)), blob(2, 12, (0, 2)))
    held, vectors = items_of(rows, ["a thing"] * 24)
    assert [one.name for one in read(Naming(), "means", held, vectors)] == ["axis 1", "axis 2"]
    names = [one.name for one in read(Naming(), "looks", held, vectors)]
    assert names == ["a thing (item-0)", "a thing (item-1)"]  # or they could not be told apart
    told = [replace(item, caption=f"{item.caption} {n % 2}") for n, item in enumerate(held)]
    assert [one.name for one in read(Naming(), "looks", told, vectors)] == ["a thing 0", "a thing 1"]


def test_facts_of_files_name_no_reading() -> None:
    rows = interleaved(blob(1, 12, (0, 1)), blob(2, 12, (0, 2)))
    held, vectors = items_of(rows, ["a cave", "a ball"] * 12)
    facts: list[Attributes] = [
        {"orientation": "landscape", "format": "JPEG"},
        {"orientation": "portrait", "format": "PNG"},
    ]
    held = [replace(item, attributes=facts[n % 2]) for n, item in enumerate(held)]
    assert [one.name for one in read(WordsEmbedder(), "means", held, vectors)] == ["cave", "ball"]


def test_readings_of_words_alone_are_not_made_of_other_weights(
    database: Database, settings: Settings, gallery: Collection
) -> None:
    engine = SearchEngine(database, settings, WordsEmbedder("others"))
    asked = Query((), words=(Words("dog"),))
    assert engine.query("things", asked).hits
    with pytest.raises(FingerprintMismatch):
        engine.query("things", replace(asked, readings=True))


def test_an_engine_without_enough_items_answers_without_readings(engine: SearchEngine) -> None:
    found = engine.query("things", Query((text("dog"),), k=2, readings=True))
    assert len(found.hits) == 2
    assert found.readings == ()


def test_readings_and_groups_are_refused_together(engine: SearchEngine) -> None:
    with pytest.raises(BadQuery, match="without group_by"):
        engine.query("things", Query((text("dog"),), group_by="words", readings=True))
