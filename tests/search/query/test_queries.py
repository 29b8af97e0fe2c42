"""Which queries are understood, in which space they are answered, and how the others are refused."""

from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.seam import EmbeddingSpace, Fusion
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import (
    AnyseekError,
    BadQuery,
    FingerprintMismatch,
    ItemNotFound,
    LimitExceeded,
    NotJoinable,
    SpaceNotFound,
)
from anyseek.search.filters.tree import BadFilter
from anyseek.search.query.vectors import NEGATIVE_PART_WEIGHT, centre_queries, fuse
from anyseek.search.settings import Limits
from anyseek.search.types import Part, Query, Results
from tests.search.gallery import DIMENSION, WordsEmbedder, keys, picture, text

X, Y = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
ROOMS, DRAWINGS = np.array([0.8, 0.0, 0.0], np.float32), np.array([0.0, 0.8, 0.0], np.float32)
SPACE = EmbeddingSpace(
    "looks", 3, "f", np.zeros(3, np.float32), {"caption": np.stack([ROOMS, DRAWINGS]), "depth": ROOMS[np.newaxis]}
)


ANY = Query((text("cat"),), k=10)
AXIS = np.eye(1, DIMENSION, dtype=np.float32)[0]


def words(looked_for: str, weight: float = 1.0) -> Query:
    return Query((Part("words", looked_for, weight=weight),))


class Joins(WordsEmbedder):
    fusion = Fusion.JOINT


def over(words_engine: SearchEngine, embedder: WordsEmbedder) -> SearchEngine:
    """An engine with another model over the same words."""
    return SearchEngine(words_engine._database, words_engine._settings, embedder)


@pytest.fixture
def engine(words_engine: SearchEngine) -> SearchEngine:
    return words_engine


def test_the_heaviest_part_chooses_the_space_and_the_first_of_equals(engine: SearchEngine) -> None:
    def space(*parts: Part) -> str:
        return engine.query("things", Query(parts)).space

    assert space(text("cat"), picture(9)) == "means"
    assert space(picture(9), text("cat")) == "looks"
    assert space(picture(9), text("cat", weight=-2.0)) == "means"


def test_a_space_may_be_named(engine: SearchEngine) -> None:
    results = engine.query("things", Query((text("cat"),), space="looks"))
    assert results.space == "looks"
    assert keys(results)[0] == "cat"
    with pytest.raises(SpaceNotFound, match="looks, means"):
        engine.query("things", Query((text("cat"),), space="smells"))


def test_aliases_of_modalities_are_understood(engine: SearchEngine) -> None:
    assert keys(engine.query("things", Query((Part("text", "cat"),), k=1))) == ["cat"]


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        (Query(()), BadQuery, "no parts"),
        (Query((text("cat"),), k=10_001), LimitExceeded, "10000"),
        (Query((text("cat"),) * 17), LimitExceeded, "16"),
        (Query((text("cat", weight=0.0),)), BadQuery, "cancel"),
        (Query((text("cat"), text("cat", weight=-1.0))), BadQuery, "cancel"),
        (Query((Part("depth", np.zeros((2, 2))),)), BadQuery, "does not take depth; it takes caption, rgb"),
        (Query((Part("smell", "cheese"),)), BadQuery, "'smell' is not a modality.*caption, rgb"),
        (Query((Part(item="unicorn"),)), ItemNotFound, "'unicorn'"),
        (words("?"), BadQuery, "no letter or digit"),
        (words("a", 0.0), BadQuery, "above 0"),
        (words("a", float("nan")), BadQuery, "above 0"),
        (words("a " * 101), LimitExceeded, "101 words"),
        (Query((text("a"),) * 10 + words("a").words * 10), LimitExceeded, "20 parts"),
        (replace(ANY, offset=9_991), LimitExceeded, "together they are at most 10000"),
        (replace(ANY, k=1_001, vectors=True), LimitExceeded, "1001 hits are asked for; the most is 1000"),
        (Query((Part(vector=AXIS),)), BadQuery, "name the space that it belongs to: looks, means"),
        (Query((Part(vector=AXIS[:3]),), space="means"), BadQuery, "has 3 numbers, and those of space 'means' have 16"),
        (Query((Part(vector=0 * AXIS),), space="means"), BadQuery, "no direction"),
        (Query((Part(vector=np.full(DIMENSION, np.float32("inf"))),), space="means"), BadQuery, "no direction"),
        (replace(ANY, facets=("@key",)), BadQuery, "a facet is '@key'"),
        (replace(ANY, facets=("a", "a")), BadQuery, "a facet twice"),
        (replace(ANY, facets=("x" * 300,)), BadFilter, "xxx"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(
    engine: SearchEngine, query: Query, error: type[AnyseekError], says: str
) -> None:
    with pytest.raises(error, match=says):
        engine.query("things", query)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ((text("cat"), Part(item="dog")), "item 'dog' is a stored vector"),
        ((text("cat"), picture(9, weight=-1.0)), "rgb has the weight -1"),
        ((text("cat", weight=0.0), picture(9)), "caption has the weight 0"),
        ((text("cat", weight=0.5), picture(9)), "rgb has another weight than caption"),
        ((text("cat"), text("dog")), "two parts of caption"),
        ((Part(item="dog"),), "item 'dog'"),
    ],
)
def test_what_cannot_be_joined_is_refused_and_answered_late_unless_asked(
    engine: SearchEngine, parts: tuple[Part, ...], says: str
) -> None:
    engine = over(engine, Joins())
    with pytest.raises(NotJoinable, match=f"{says}.*fusion late"):
        engine.query("things", Query(parts, fusion=Fusion.JOINT))
    results = engine.query("things", Query(parts))
    assert results == engine.query("things", Query(parts, fusion=Fusion.LATE))
    assert results.fusion == (Fusion.LATE if len(parts) > 1 else None)


@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_words_beside_a_picture_count_what_the_space_says(engine: SearchEngine, weight: float) -> None:
    """A negative part counts as much as ever."""

    class Shares(WordsEmbedder):
        def _space(self, name: str) -> EmbeddingSpace:
            return replace(super()._space(name), shares={"rgb": {"caption": 0.25}})

    def asked(embedder: WordsEmbedder, *parts: Part) -> Results:
        return over(engine, embedder).query("things", Query(parts))

    told = 0.25 if weight > 0 else weight
    assert asked(Shares(), picture(9), text("cat", weight)) == asked(WordsEmbedder(), picture(9), text("cat", told))
    assert asked(Shares(), text("dog"), text("cat", weight)) == asked(WordsEmbedder(), text("dog"), text("cat", weight))
    assert asked(Shares(), Part(item="dog"), text("cat", 0.5)) == asked(
        WordsEmbedder(), Part(item="dog"), text("cat", 0.5)
    )


@pytest.mark.parametrize("weight", [1.0, -1.0, 0.5])
@pytest.mark.parametrize("picture", [picture(9), Part(item="dog")])
def test_a_picture_beside_words_counts_what_the_space_says(engine: SearchEngine, picture: Part, weight: float) -> None:
    """Also beside words that are unwanted."""

    class Shares(WordsEmbedder):
        def _space(self, name: str) -> EmbeddingSpace:
            return replace(super()._space(name), shares={"caption": {"rgb": 0.25, "": 0.25}})

    def asked(embedder: WordsEmbedder, *parts: Part) -> Results:
        return over(engine, embedder).query("things", Query(parts, space="looks"))

    lighter, words = replace(picture, weight=0.25), text("cat", weight)
    assert asked(Shares(), picture, words) == asked(WordsEmbedder(), lighter, words)
    assert asked(Shares(), picture) == asked(WordsEmbedder(), picture)


def test_the_model_chooses_how_parts_are_fused_unless_it_is_said(engine: SearchEngine) -> None:
    late, joint = (over(engine, embedder) for embedder in (WordsEmbedder(), Joins()))
    parts = (text("cat", weight=0.5), picture(9, weight=0.5))
    assert late.query("things", Query(parts)).fusion == Fusion.LATE
    assert joint.query("things", Query(parts)).fusion == Fusion.JOINT
    assert joint.query("things", Query(parts, fusion=Fusion.LATE)) == late.query("things", Query(parts))
    assert late.query("things", Query(parts, fusion=Fusion.JOINT)) == joint.query("things", Query(parts))
    assert joint.query("things", Query((text("cat"),))).fusion is None


def test_a_batch_has_a_limit(engine: SearchEngine) -> None:
    few = replace(engine._settings, limits=Limits(queries_per_batch=2))
    engine = SearchEngine(engine._database, few, engine.embedder)
    assert engine.query_batch("things", []) == []
    with pytest.raises(LimitExceeded, match="3 queries; the most is 2"):
        engine.query_batch("things", [Query((text("cat"),))] * 3)


@pytest.mark.parametrize("part", [text("cat"), Part(item="cat")])
def test_other_weights_are_refused(engine: SearchEngine, part: Part) -> None:
    retrained = over(engine, WordsEmbedder("words-2"))
    with pytest.raises(FingerprintMismatch, match="reembed"):
        retrained.query("things", Query((part,)))


def test_a_model_without_the_collections_spaces_is_refused(engine: SearchEngine) -> None:
    class Other(WordsEmbedder):
        def default_space(self, modality: str) -> str:
            return "sounds"

    with pytest.raises(FingerprintMismatch, match="things"):
        over(engine, Other()).query("things", Query((text("cat"),)))


def _unit(*numbers: float) -> np.ndarray:
    vector = np.array(numbers, np.float32)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("modalities", "asked", "mean"),
    [
        (["caption"], (0.8, 0.1, 0.6), ROOMS),
        (["caption"], (0.1, 0.8, 0.6), DRAWINGS),
        (["caption", "depth"], (0.1, 0.8, 0.6), (DRAWINGS + ROOMS) / 2),
        (["semseg"], (0.1, 0.8, 0.6), 0 * ROOMS),
    ],
    ids=["nearest to rooms", "nearest to drawings", "several share the mean of theirs", "without means"],
)
def test_a_query_is_centred_on_the_mean_that_is_nearest_to_it(
    modalities: list[str], asked: tuple[float, ...], mean: np.ndarray
) -> None:
    found = centre_queries(SPACE, modalities, np.stack([_unit(*asked), _unit(0.6, 0.5, 0.6)]))
    np.testing.assert_allclose(found[0], _unit(*(_unit(*asked) - mean)), atol=1e-6)


def test_parts_are_summed_by_ratios_of_weights_and_renormalised() -> None:
    for scale in (1, 1e-30, 1e30, 1e300):
        np.testing.assert_allclose(fuse(np.stack([X, Y]), [3 * scale, 4 * scale]), [0.6, 0.8], atol=1e-6)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95, -0.5])
@pytest.mark.parametrize("weights", [(1, -1), (1, -100), (0.1, -7)])
def test_a_negative_part_takes_away_what_it_says_else_and_never_turns_the_query_round(
    shared: float, weights: tuple[float, float]
) -> None:
    wanted, unwanted = X, np.array([shared, np.sqrt(1 - shared**2)], np.float32)
    found = fuse(np.stack([wanted, unwanted]), weights)
    assert found @ wanted >= np.sqrt(0.5) - 1e-6, "what was wanted still is"
    assert found @ unwanted < wanted @ unwanted or found @ unwanted <= 0, "what was unwanted is less so"
    sister = np.array([shared, -np.sqrt(1 - shared**2)], np.float32)  # shares with the wanted what the unwanted shares
    assert found @ sister > found @ unwanted


def test_a_negative_weight_pushes_away() -> None:
    pushed = np.array([1, -NEGATIVE_PART_WEIGHT]) / np.hypot(1, NEGATIVE_PART_WEIGHT)
    np.testing.assert_allclose(fuse(np.stack([X, Y]), [1, -1]), pushed, atol=1e-6)
    np.testing.assert_allclose(fuse(np.stack([X, Y]), [5, -5]), pushed, atol=1e-6)
    np.testing.assert_allclose(fuse(np.stack([Y]), [-2]), -Y)
    np.testing.assert_allclose(fuse(X[np.newaxis], [-2]), -X)


@pytest.mark.parametrize(("rows", "weights"), [([X, X], [1, -1]), ([X], [0]), ([X, Y], [0, 0]), ([0 * X], [1])])
def test_parts_that_cancel_out_are_a_bad_query(rows: list[np.ndarray], weights: list[float]) -> None:
    with pytest.raises(BadQuery, match="cancel each other out"):
        fuse(np.stack(rows), weights)
