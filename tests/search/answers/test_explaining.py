"""Explanations say what the query itself would say: asked again with a part alone, or without it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from anyseek.model.seam import FloatArray, Fusion, Sample
from anyseek.search.answers.results import Explanation
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import ItemNotFound, LimitExceeded
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.types import Collection, Part, Query, Results
from tests.search.gallery import Home, WordsEmbedder, keys, picture, text
from tests.search.hues import engine_over_hues

THINGS = {"cat in 9": ("cat", 9), "cat in 3": ("cat", 3), "dog in 9": ("dog", 9), "tree in 15": ("tree", 15)}


@pytest.fixture
def gallery(collection: Collection) -> Collection:
    """Empty, so that a test's own items are all."""
    return collection


@pytest.fixture
def engine(words_engine: SearchEngine) -> SearchEngine:
    return words_engine


@pytest.fixture(scope="module")
def hued_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    with engine_over_hues(tmp_path_factory.mktemp("hued"), THINGS) as engine:
        yield engine


def score_and_rank(results: Results, key: str) -> tuple[float, int]:
    (hit,) = [hit for hit in results.hits if hit.key == key]
    return hit.score, hit.rank


def check_against_queries(engine: SearchEngine, collection: str, query: Query) -> tuple[Explanation, ...]:
    """Ask for explanations, and compare them with queries of fewer parts in the same space."""
    found = engine.query(collection, replace(query, k=5, explain=5))
    space = None if found.fusion == Fusion.RANKS else found.space
    for hit, explained in zip(found.hits, found.explanations, strict=True):
        assert (explained.key, explained.rank) == (hit.key, hit.rank)
        assert explained.score == pytest.approx(hit.score, abs=1e-6)
        for part, share in zip(query.parts, explained.parts, strict=True):
            others = tuple(other for other in query.parts if other is not part)
            without = engine.query(collection, replace(query, parts=others, k=5, space=space))
            score, rank = score_and_rank(without, hit.key)
            assert (share.score_without, share.rank_without) == (pytest.approx(score, abs=1e-6), rank)
            assert share.contribution == pytest.approx(hit.score - score, abs=1e-6)
            alone = Query((replace(part, weight=1.0),), k=5, space=share.space)
            score, rank = score_and_rank(engine.query(collection, alone), hit.key)
            assert (share.similarity, share.rank) == (pytest.approx(score, abs=1e-6), rank)
            assert share.weight == part.weight
    return found.explanations


@pytest.mark.parametrize("fusion", [Fusion.LATE, Fusion.RANKS, None])
def test_late_and_added_parts_are_explained_by_leaving_each_out(engine: SearchEngine, fusion: Fusion | None) -> None:
    query = Query((text("dog"), text("cat", weight=0.5), Part(item="car", weight=0.2)), fusion=fusion)
    explained = check_against_queries(engine, "things", query)
    assert [(part.text, part.item) for part in explained[0].parts] == [("dog", None), ("cat", None), (None, "car")]
    asked = replace(query, k=5, explain=5)
    engine.embedder.calls = 0
    plain = engine.query("things", asked).explanations
    assert engine.embedder.calls == 1, "parts are not embedded again"
    assert plain == explained
    assert engine.query("things", replace(asked, group_by="words")).explanations == explained


def test_a_single_part_has_nothing_to_be_left_out_of(engine: SearchEngine) -> None:
    (explained,) = engine.query("things", Query((text("dog"),), explain=1)).explanations
    (part,) = explained.parts
    assert (part.rank, part.contribution, part.score_without, part.rank_without) == (1, None, None, None)
    assert part.similarity == pytest.approx(explained.score, abs=1e-6)
    assert explained.note == "means is not predicted as codes, so none can be compared; no space of words is"


def test_a_joint_query_is_explained_by_embedding_the_rest(engine: SearchEngine) -> None:
    embedder = engine.embedder
    query = Query((text("dog"), picture(9)), fusion=Fusion.JOINT)
    check_against_queries(engine, "things", query)
    engine.query("things", query)
    embedder.calls = 0
    engine.query("things", replace(query, explain=3))
    assert embedder.calls == 2  # one pass for the query, one for all its parts


def test_what_is_pushed_away_is_explained_with_its_own_sign(engine: SearchEngine) -> None:
    query = Query((text("dog"), text("dog", weight=-0.4), text("cat")))
    found = engine.query("things", replace(query, explain=5)).explanations
    explained = {one.key: one for one in found}
    wanted, pushed, _ = explained["dog"].parts
    assert wanted.contribution > 0 > pushed.contribution
    assert (pushed.weight, pushed.rank) == (-0.4, 1)
    only = engine.query("things", Query((text("dog"), text("cat", weight=-1)), explain=1)).explanations[0]
    assert only.parts[0].contribution is None  # nothing wanted is left without it
    assert only.parts[1].contribution is not None


def test_the_same_part_twice_is_left_out_once(engine: SearchEngine) -> None:
    item = Part(item="car", weight=0.2)
    twice = engine.query("things", Query((item, item, text("cat")), explain=3))
    apart = engine.query("things", Query((item, replace(item), text("cat")), explain=3))
    assert twice.explanations == apart.explanations


def test_shares_of_added_rankings_are_the_score(hued_engine: SearchEngine) -> None:
    query = Query((text("cat"), picture(9), picture(15, weight=-1), Part("words", "cat", weight=0.5)), explain=4)
    found = hued_engine.query("hued", query)
    assert found.fusion == Fusion.RANKS
    for hit, explained in zip(found.hits, found.explanations, strict=True):
        shares = sum(one.share for one in explained.rankings)
        assert explained.score == pytest.approx(hit.score) == pytest.approx(shares)
        assert [(one.space, one.weight) for one in explained.rankings] == [("means", 1), ("hues", 1), (None, 0.5)]
        assert [part.weight for part in explained.parts] == [1, 1, -1, 0.5]
    words = hued_engine.query("hued", replace(query, parts=query.contents))
    for explained in found.explanations:
        score, rank = score_and_rank(words, explained.key)
        assert (explained.parts[-1].score_without, explained.parts[-1].rank_without) == (pytest.approx(score), rank)
    tree = next(one for one in found.explanations if one.key == "tree in 15")
    assert (tree.parts[-1].rank, tree.rankings[-1].rank, tree.rankings[-1].share) == (None, None, 0)


def test_a_ranking_that_only_pushes_is_explained_as_asked(hued_engine: SearchEngine) -> None:
    found = hued_engine.query("hued", Query((text("cat"), picture(9, weight=-1)), explain=4))
    explained = {one.key: one for one in found.explanations}
    pushed = explained["cat in 9"].parts[1]
    assert (pushed.weight, pushed.rank) == (-1, 1)
    assert pushed.contribution < 0
    assert explained["cat in 9"].rankings[1].share < 0
    assert [ranking.weight for ranking in explained["cat in 9"].rankings] == [1, -0.5]


def test_items_that_are_no_hits_are_explained_too(engine: SearchEngine) -> None:
    query = Query((text("dog"), text("cat", weight=0.5)), k=1, explain=1, explain_keys=("house", "dog"))
    found = engine.query("things", query)
    assert keys(found) == ["dog"]
    assert [one.key for one in found.explanations] == ["dog", "house"]
    house = found.explanations[1]
    assert house.rank is not None
    assert house.rank > 1
    with pytest.raises(ItemNotFound, match="no item 'unicorn' to explain"):
        engine.query("things", Query((text("dog"),), explain_keys=("unicorn",)))


def test_what_a_filter_leaves_out_has_a_score_and_no_rank(engine: SearchEngine) -> None:
    where = filter_from_text("words = dog")
    query = Query((text("dog"), text("cat")), where=where, explain_keys=("cat",))
    (explained,) = engine.query("things", query).explanations
    assert explained.rank is None
    assert all(part.rank is None and part.similarity is not None for part in explained.parts)


def test_words_in_common_are_named_with_their_fields(home: Home) -> None:
    home.put(["dogs/1"], "a dog of the house")
    home.put(["other"], "the house")
    engine = home.engine()
    query = Query((text("dogs of a street"), Part(item="other"), Part("words", "house")), explain_keys=("dogs/1",))
    (explained,) = engine.query("things", query).explanations
    said = [[(word.word, word.fields) for word in part.words] for part in explained.parts]
    both = ("caption", "words")
    assert said == [[("dog", ("key", *both))], [("house", both)], [("house", both)]]


def test_limits_and_batches(engine: SearchEngine) -> None:
    with pytest.raises(LimitExceeded, match="21 hits and items are to be explained; the most is 20"):
        engine.query("things", Query((text("dog"),), explain=20, explain_keys=("dog",)))
    dog = Query((text("dog"),))
    batch = [replace(dog, explain_keys=("unicorn",)), dog, replace(dog, explain=1)]
    missing, plain, explained = engine.query_batch("things", batch)
    assert isinstance(missing, ItemNotFound)
    assert (plain.explanations, [one.key for one in explained.explanations]) == ((), ["dog"])


def test_a_part_asked_in_several_spaces_is_left_out_of_all(engine: SearchEngine) -> None:
    query = Query((text("dog"), text("cat", weight=0.5)), spaces=("looks", "means"))
    found = engine.query("things", replace(query, k=5, explain=5))
    assert [part.space for part in found.explanations[0].parts] == ["looks", "looks", "means", "means"]
    for explained in found.explanations:
        for part in explained.parts:
            others = tuple(other for other in query.parts if other.value != part.text)
            score, rank = score_and_rank(engine.query("things", replace(query, parts=others, k=5)), explained.key)
            assert (part.score_without, part.rank_without) == (pytest.approx(score), rank)
        assert explained.score == pytest.approx(sum(one.share for one in explained.rankings))


def engine_of(home: Home, embedder: WordsEmbedder, own: Sequence[str]) -> SearchEngine:
    """An engine with another model over a collection of its own."""
    other = replace(home, embedder=embedder).beside("own")
    other.put(own)
    return other.engine()


class Coded(WordsEmbedder):
    """`WordsEmbedder` whose space `means` is predicted as two codes: the signs of the first numbers of a vector.

    It finds each code of its own likely to 0.8.
    """

    code_spaces = frozenset({"means"})

    def codes_of(self, vectors: FloatArray, space: str) -> npt.NDArray[np.int64]:
        return (vectors[:, :2] > 0).astype(np.int64)

    def code_probabilities(self, samples: Sequence[Sample], space: str) -> FloatArray:
        codes = self.codes_of(self.embed(samples, [space])[space], space)
        return np.where(np.arange(2) == codes[:, :, np.newaxis], 0.8, 0.2).astype(np.float32)


def test_codes_are_compared_where_a_space_has_them(home: Home) -> None:
    embedder = Coded()
    engine = engine_of(home, embedder, ["dog", "cat", "car"])
    parts = (text("dog"), Part(item="cat"))
    found = engine.query("own", Query(parts, space="means", explain_keys=("dog", "cat", "car"))).explanations
    said = {one.key: [part.codes for part in one.parts] for one in found}
    of = {key: embedder.codes_of(embedder.vector(Sample({"caption": key}), "means")[None], "means")[0] for key in said}
    entropy = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    for key, (of_dog, of_cat) in said.items():
        alike = of["dog"] == of[key]
        assert of_dog.agree == tuple(np.flatnonzero(alike))
        assert (of_dog.of, of_dog.count) == (2, 2)
        assert of_dog.choices == pytest.approx(np.exp(entropy))
        assert of_dog.likelier == pytest.approx(2 * np.sqrt(np.prod(np.where(alike, 0.8, 0.2))))
        assert of_cat.agree == tuple(np.flatnonzero(of["cat"] == of[key]))
        assert (of_cat.choices, of_cat.likelier) == (None, None)
    assert said["dog"][0].agree == (0, 1)
    assert all(one.note is None for one in found)


def test_joint_parts_have_codes_together_too(home: Home) -> None:
    embedder = Coded()
    engine = engine_of(home, embedder, ["dog", "dog 9"])
    query = Query((text("dog"), picture(9)), fusion=Fusion.JOINT, space="means", explain_keys=("dog 9",))
    (explained,) = engine.query("own", query).explanations
    assert explained.codes.agree == (0, 1)
    (late,) = engine.query("own", replace(query, fusion=Fusion.LATE)).explanations
    assert late.codes is None


def test_without_codes_it_says_why(home: Home) -> None:
    coded = engine_of(home, Coded(), ["dog"])
    (explained,) = coded.query("own", Query((text("dog"),), space="looks", explain=1)).explanations
    assert explained.note.endswith("name a space that is: means")
    (words,) = coded.query("own", Query((Part("words", "dog"),), explain=1)).explanations
    assert words.note is None


class Named(WordsEmbedder):
    """`WordsEmbedder` that knows the words dog, cat and car in its space `means`."""

    naming_spaces = frozenset({"means"})

    def names(self, vectors: FloatArray, space: str, most: int) -> list[tuple[str, ...]]:
        known = ["dog", "cat", "car"]
        bank = np.stack([self.vector(Sample({"caption": word}), space) for word in known])
        return [tuple(known[place] for place in np.argsort(-row)[: min(most, 2)]) for row in vectors @ bank.T]


def test_words_of_the_model_are_named_for_part_and_item(home: Home) -> None:
    embedder = Named()
    engine = engine_of(home, embedder, ["dog", "cat", "car"])
    query = Query((text("dog"), text("car")), explain_keys=("dog", "cat"))
    dog, cat = engine.query("own", query).explanations
    assert dog.names == ("dog",)
    assert dog.parts[0].names == ("dog",)
    assert cat.names == ("cat",)
    assert set(cat.parts[0].names) <= set(cat.names)
    elsewhere = engine.query("own", replace(query, space="looks")).explanations
    assert all(not one.names and not one.parts[0].names for one in elsewhere)


def test_words_of_items_leave_out_what_many_have(home: Home) -> None:
    licence = "no known restrictions at all"
    shared = {"licence": licence, "source": "https://archive.example/fox", "width": 300, "tags": ["fox", "snow"]}
    home.put_with({key: shared | {"label": key} for key in ("a", "b")})
    engine = home.engine()
    query = Query((Part(item="a"),), space="means", explain_keys=("b",))
    (explained,) = engine.query("things", query).explanations
    assert [word.word for word in explained.parts[0].words] == ["fox", "snow"]
    assert explained.parts[0].words[0].fields == ("tags",)
