"""Parts that are at home in different spaces are searched for apart, and the rankings are added."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyseek.model.seam import Fusion
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import BadQuery, ItemNotFound, NotJoinable, SpaceNotFound
from anyseek.search.filters.from_text import filter_from_text
from anyseek.search.query import planning
from anyseek.search.query.rankings import Ranking, fuse_rankings, rank_scores, ranking_of_words, score_contributions
from anyseek.search.settings import Limits
from anyseek.search.types import Part, Query, Results
from tests.search.gallery import direction, keys, picture, text
from tests.search.hues import SeesHues, engine_over_hues

# Key: what the item says and its hue.
THINGS = {
    "cat in 9": ("cat", 9),
    "cat in 3": ("cat", 3),
    "dog in 9": ("dog", 9),
    "dog in 3": ("dog", 3),
    "car in 12": ("car", 12),
    "tree in 15": ("tree", 15),
}
BOTH = (text("cat"), picture(9))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    with engine_over_hues(tmp_path_factory.mktemp("hued"), THINGS) as engine:
        yield engine


def ask(engine: SearchEngine, *parts: Part, **options: object) -> Results:
    return engine.query("hued", Query(parts, **options))


def test_what_has_both_comes_first_though_no_space_knows_both(engine: SearchEngine) -> None:
    found = ask(engine, *BOTH)
    assert keys(found)[0] == "cat in 9"
    assert set(keys(found)[1:3]) == {"cat in 3", "dog in 9"}
    assert (found.space, found.fusion) == ("means+hues", Fusion.RANKS)
    assert keys(ask(engine, *reversed(BOTH)))[0] == "cat in 9"
    scores = [hit.score for hit in found.hits]
    assert scores == sorted(scores, reverse=True)
    assert 0.9 < scores[0] <= 1.0
    assert scores[-1] > 0
    assert [hit.rank for hit in found.hits] == list(range(1, len(THINGS) + 1))


def test_the_heavier_part_decides(engine: SearchEngine) -> None:
    assert keys(ask(engine, text("cat"), picture(9, weight=0.2)))[:2] == ["cat in 9", "cat in 3"]
    assert keys(ask(engine, text("cat", weight=0.2), picture(9)))[:2] == ["cat in 9", "dog in 9"]
    assert keys(ask(engine, text("cat"), picture(9, weight=0.0)))[:2] == keys(ask(engine, text("cat")))[:2]


def test_items_count_as_pictures_and_go_with_other_parts(engine: SearchEngine) -> None:
    found = ask(engine, Part(item="dog in 3"), text("cat"))
    assert (found.space, found.fusion) == ("hues+means", Fusion.RANKS)
    assert keys(found)[0] in ("cat in 3", "dog in 3")
    with pytest.raises(ItemNotFound, match="'unicorn'"):
        ask(engine, text("cat"), picture(9), Part(item="unicorn"))


def test_a_hue_that_is_unwanted_lowers_what_has_it_and_nothing_else(engine: SearchEngine) -> None:
    before, after = keys(ask(engine, text("cat"), k=6)), keys(ask(engine, text("cat"), picture(9, weight=-1.0), k=6))
    assert set(before[:2]) == {"cat in 9", "cat in 3"}
    assert after[0] == "cat in 3"
    assert after.index("dog in 9") >= before.index("dog in 9")
    away = ask(engine, text("cat", weight=-1.0), picture(9, weight=-1.0))
    assert away.fusion == Fusion.LATE, "nothing is asked for that could be ranked"


def test_a_filter_and_k_hold_for_every_ranking(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    where = filter_from_text("@key != 'cat in 9'")
    found = ask(engine, *BOTH, where=where, k=2)
    assert set(keys(found)) == {"cat in 3", "dog in 9"}
    whole = keys(ask(engine, *BOTH, k=6))
    for k in range(1, 6):
        assert keys(ask(engine, *BOTH, k=k)) == whole[:k]
    monkeypatch.setattr(planning, "_FUSION_DEPTH", 1)
    assert keys(ask(engine, *BOTH, k=1)) == ["cat in 9"]


def test_the_first_pages_are_pieces_of_one_order(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_FUSION_DEPTH", 2)
    whole = keys(ask(engine, *BOTH, k=100))
    assert [key for offset in range(4) for key in keys(ask(engine, *BOTH, k=1, offset=offset))] == whole[:4]
    assert len(keys(ask(engine, *BOTH, k=101))) > len(whole), "beyond them more items count"


def test_rankings_are_no_deeper_than_the_most_hits(engine: SearchEngine) -> None:
    few = replace(engine._settings, limits=Limits(hits=2))
    assert len(keys(SearchEngine(engine._database, few, engine.embedder).query("hued", Query(BOTH, k=2)))) == 2


def test_one_vector_is_made_where_it_is_asked_for(engine: SearchEngine) -> None:
    for fusion in (Fusion.LATE, Fusion.JOINT):
        found = ask(engine, *BOTH, fusion=fusion)
        assert (found.space, found.fusion) == ("means", fusion)
    assert ask(engine, *BOTH, space="looks").fusion == Fusion.LATE
    with pytest.raises(NotJoinable, match="two parts of caption"):
        ask(engine, text("cat"), text("dog"), picture(9), fusion=Fusion.JOINT)


def test_every_part_has_a_ranking_where_that_is_asked_for(engine: SearchEngine) -> None:
    found = ask(engine, text("cat"), text("dog"), fusion=Fusion.RANKS)
    assert (found.space, found.fusion) == ("means", Fusion.RANKS)
    assert keys(found)[0].split()[0] in ("cat", "dog")
    assert keys(ask(engine, text("dog"), text("cat"), fusion=Fusion.RANKS)) == keys(found)
    assert keys(ask(engine, text("dog", weight=3.0), text("cat"), fusion=Fusion.RANKS))[0].startswith("dog")
    there = ask(engine, text("cat"), text("dog"), fusion=Fusion.RANKS, space="looks")
    assert (there.space, there.fusion) == ("looks", Fusion.RANKS)
    alone = ask(engine, text("cat"), fusion=Fusion.RANKS)
    assert alone == ask(engine, text("cat"))


def test_a_batch_answers_as_each_query_alone_does_with_errors_in_their_places(engine: SearchEngine) -> None:
    queries = [
        Query(BOTH, k=3),
        Query((text("cat"),), k=2),
        Query((text("cat", weight=0.0),)),
        Query((*BOTH, Part(item="unicorn"))),
        Query((picture(9), text("cat", weight=-0.5)), where=filter_from_text("@key starts with dog")),
    ]
    answers = engine.query_batch("hued", queries)
    assert [type(answer) for answer in answers] == [Results, Results, BadQuery, ItemNotFound, Results]
    assert [engine.query("hued", queries[n]) for n in (0, 1, 4)] == [answers[n] for n in (0, 1, 4)]


def test_parts_are_embedded_for_their_own_spaces_alone(engine: SearchEngine) -> None:
    assert isinstance(engine.embedder, SeesHues)
    engine.embedder.embedded.clear()
    ask(engine, *BOTH)
    assert sorted(engine.embedder.embedded) == [(("caption",), ("means",)), (("rgb",), ("hues",))]


def test_a_model_whose_spaces_know_everything_is_asked_as_ever(words_engine: SearchEngine) -> None:
    found = words_engine.query("things", Query(BOTH))
    assert (found.space, found.fusion) == ("means", Fusion.LATE)


def test_the_same_is_asked_in_several_spaces_and_added(engine: SearchEngine) -> None:
    found = ask(engine, picture(9), spaces=("looks", "hues"), k=6, explain=6)
    assert (found.space, found.fusion) == ("looks+hues", Fusion.RANKS)
    shares = {why.key: [one.share for one in why.rankings] for why in found.explanations}
    assert [hit.score for hit in found.hits] == pytest.approx([sum(shares[key]) for key in keys(found)])
    for place, name in enumerate(("looks", "hues")):
        (first,) = keys(ask(engine, picture(9), space=name, k=1))
        assert shares[first][place] == pytest.approx(0.5)
    one = ask(engine, text("cat"), spaces=("means",), k=6)
    assert (one.hits, one.space, one.fusion) == (ask(engine, text("cat"), space="means", k=6).hits, "means", None)


def test_words_count_as_much_beside_parts_in_several_spaces(engine: SearchEngine) -> None:
    words = Part("words", "tree")
    in_one, in_two = (ask(engine, picture(9), words, spaces=names, k=6) for names in (("hues",), ("hues", "looks")))
    (by_words,) = [[hit.score for hit in found.hits if hit.key == "tree in 15"] for found in (ask(engine, words, k=6),)]
    assert by_words == [1.0]
    assert all(hit.score < 1 for hit in in_one.hits + in_two.hits)
    assert max(hit.score for hit in in_two.hits) <= 1


@pytest.mark.parametrize(
    ("parts", "options", "says"),
    [
        ((text("cat"),), {"spaces": ("hues", "means")}, "knows nothing of caption"),
        ((picture(9),), {"spaces": ("hues", "hues")}, "a space twice"),
        ((picture(9),), {"spaces": ("hues",), "space": "means"}, "a space and spaces"),
        ((picture(9, weight=-1.0),), {"spaces": ("hues", "looks")}, "weight above 0"),
        ((picture(9, weight=0.0),), {"spaces": ("hues", "looks")}, "weight above 0"),
        ((Part(vector=direction("x", "looks")),), {"spaces": ("means", "looks")}, "is of one space"),
        ((picture(9),), {"spaces": ("means", "nowhere")}, "nowhere"),
        ((Part("words", "cat"),), {"spaces": ("means", "nowhere")}, "nowhere"),
    ],
)
def test_what_cannot_be_asked_in_several_spaces_is_refused(
    engine: SearchEngine, parts: tuple[Part, ...], options: dict[str, object], says: str
) -> None:
    with pytest.raises(SpaceNotFound if says == "nowhere" else BadQuery, match=says):
        ask(engine, *parts, **options)


def ranking(weight: float, *z: float) -> Ranking:
    """A ranking of the items 0, 1, … by how far they stand out."""
    z = np.array(z)
    ids = np.argsort(-z, kind="stable")
    return Ranking(ids, z[ids], np.arange(1, len(z) + 1), z[ids], weight=weight)


def test_the_first_has_1_and_others_what_rank_and_distance_say() -> None:
    shares = ranking(1.0, 4.0, 2.0, -1.0).contributions()
    assert shares[0] == 1
    assert shares[1] == pytest.approx((61 / 62 + 2 * 0.5) / 3)
    assert shares[2] == pytest.approx(61 / 63 / 3), "what stands out less than others has its rank alone"


def test_the_rank_alone_counts_where_nothing_stands_out() -> None:
    for nothing in (ranking_of_words([(7, 1), (8, 2)], 1.0), ranking(1.0, 0.0, -1.0)):
        assert sorted(nothing.contributions()) == pytest.approx([61 / 62, 1])


def test_the_first_items_are_told_apart_by_how_far_they_stand_out() -> None:
    """By ranks alone item 1 would come first: it is first and third, and item 0 is second and second."""
    words = ranking(1.0, 3.0, 3.1, 1.0)
    colours = ranking(1.0, 3.0, 1.0, 3.1)
    assert fuse_rankings([words, colours]).ids[0] == 0


def test_what_is_unwanted_is_lowered_and_never_added() -> None:
    found = fuse_rankings([ranking(1.0, 3.0, 2.0), ranking_of_words([(0, 1), (9, 2)], -1.0)])
    assert found.ids.tolist() == [1, 0]
    assert found.scores[1] == pytest.approx(0)
    assert not len(fuse_rankings([ranking(-1.0, 3.0)]).ids)


@given(
    st.lists(st.tuples(st.floats(0.1, 5), st.lists(st.floats(-5, 5), min_size=1, max_size=6)), min_size=1, max_size=4)
)
def test_scores_fall_and_are_what_the_rankings_add(weighted: list[tuple[float, list[float]]]) -> None:
    rankings = [ranking(weight, *z) for weight, z in weighted]
    found = fuse_rankings(rankings)
    assert np.diff(found.scores).max(initial=0) < 1e-11
    assert all(0 <= score <= 1 + 1e-9 for score in found.scores)
    for item_id, score in zip(found.ids.tolist(), found.scores.tolist(), strict=True):
        assert score == pytest.approx(sum(score_contributions(rankings, item_id)))


def test_lists_are_fused_by_reciprocal_rank() -> None:
    assert rank_scores([1, 62]).tolist() == [1, 0.5]
    one = fuse_rankings([ranking_of_words([(7, 1), (8, 2)], 1.0)])
    assert (one.ids.tolist(), one.scores.tolist()) == ([7, 8], [1.0, pytest.approx(61 / 62)])
    both = fuse_rankings([ranking_of_words([(1, 1), (2, 2), (3, 3)], 1.0), ranking_of_words([(3, 1), (9, 2)], 1.0)])
    assert both.ids.tolist() == [3, 1, 2, 9]
    assert both.scores[0] == pytest.approx((1 / 63 + 1 / 61) / (2 / 61))
    assert fuse_rankings([ranking_of_words([(1, 1)], 0.1), ranking_of_words([(2, 1)], 2.0)]).ids.tolist() == [2, 1]
