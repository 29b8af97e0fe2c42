"""Queries whose parts guide the model: which are, what they find, and how the others are refused."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.seam import FloatArray, Fusion, Sample
from anyseek.search.catalogue.session import Database
from anyseek.search.engine import SearchEngine
from anyseek.search.errors import AnyseekError, BadQuery, NotJoinable
from anyseek.search.settings import Settings
from anyseek.search.types import Part, Query, Results, Words
from tests.search.gallery import WordsEmbedder, direction, keys, make_collection, picture, put, text, unit, words


class Guides(WordsEmbedder):
    """`WordsEmbedder` whose space `means` can be guided: it adds what the parts say by weight, as no other fusion does.

    Centred on its means, a query with weights is `sum_i w_i direction_i`.
    """

    guided_spaces = frozenset({"means"})

    def __init__(self) -> None:
        super().__init__()
        self.guided: list[tuple[list[str], list[Mapping[str, float]]]] = []

    def embed_guided(
        self, samples: Sequence[Sample], weights: Sequence[Mapping[str, float]], spaces: Sequence[str]
    ) -> dict[str, FloatArray]:
        self.guided.append((sorted(spaces), list(weights)))
        return {
            space: np.stack([self._led(sample, given, space) for sample, given in zip(samples, weights, strict=True)])
            for space in spaces
        }

    def _led(self, sample: Sample, weights: Mapping[str, float], space: str) -> FloatArray:
        assert sample.values.keys() == weights.keys()
        told = sum(weights[name] * direction(words(value), space) for name, value in sample.values.items())
        return unit(np.asarray(told, np.float32) + self.lean(space))


@pytest.fixture
def guides() -> Guides:
    return Guides()


@pytest.fixture
def guided(database: Database, settings: Settings, guides: Guides) -> SearchEngine:
    put(database, make_collection(database, guides), guides, ["dog", "cat", "car", "27", "house"])
    return SearchEngine(database, settings, guides)


def _asked(*parts: Part, **how: object) -> Query:
    return replace(Query(parts, space="means", fusion=Fusion.GUIDED), **how)  # type: ignore[arg-type]


BOTH = (text("dog"), picture(27))


def test_parts_lead_the_model_by_their_weights(guided: SearchEngine, guides: Guides) -> None:
    found = guided.query("things", _asked(text("dog"), picture(27, weight=0.2)))
    assert (found.space, found.fusion, keys(found)[0]) == ("means", Fusion.GUIDED, "dog")
    assert guides.guided == [(["means"], [{"caption": 1.0, "rgb": 0.2}])]
    assert keys(guided.query("things", _asked(text("dog", weight=0.2), picture(27))))[0] == "27"
    away = guided.query("things", _asked(text("dog"), picture(27, weight=-1.0)))
    assert (keys(away)[0], keys(away)[-1]) == ("dog", "27")


def test_a_single_part_is_led_by_its_weight_too(guided: SearchEngine, guides: Guides) -> None:
    alone = guided.query("things", Query((text("dog"),), space="means"))
    assert guided.query("things", _asked(text("dog"))) == alone
    assert alone.fusion is None
    twice = guided.query("things", _asked(text("dog", weight=2.0)))
    assert guides.guided[-1] == (["means"], [{"caption": 2.0}])
    assert twice.hits[0].score != pytest.approx(alone.hits[0].score, abs=1e-3)
    assert keys(guided.query("things", _asked(text("dog", weight=-1.0))))[-1] == "dog"


def test_guided_queries_of_a_batch_go_through_the_model_together_and_beside_others(
    guided: SearchEngine, guides: Guides
) -> None:
    asked = [_asked(*BOTH), _asked(*BOTH, fusion=Fusion.LATE), _asked(text("cat")), _asked(*BOTH, fusion=Fusion.JOINT)]
    alone = [guided.query("things", query) for query in asked]
    guides.guided.clear()
    assert guided.query_batch("things", asked) == alone
    assert guides.guided == [(["means"], [{"caption": 1.0}, {"caption": 1.0, "rgb": 1.0}])]


def test_beside_words_they_are_one_ranking(guided: SearchEngine) -> None:
    found = guided.query("things", _asked(*BOTH, words=(Words("house"),)))
    assert (found.space, found.fusion) == ("means", Fusion.RANKS)
    assert {"dog", "27", "house"} <= set(keys(found)[:4])


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        (_asked(*BOTH[::-1], space=None), NotJoinable, "name a space that is: means"),
        (_asked(*BOTH, space="looks"), NotJoinable, "'looks' of the collection 'things' .*name a space that is: means"),
        (_asked(text("dog"), Part(item="cat")), NotJoinable, "the item 'cat' is a stored vector.*use fusion late"),
        (_asked(text("dog"), Part("rgb", vector=np.ones(16))), NotJoinable, "is a vector, not content"),
        (_asked(text("dog"), text("cat")), NotJoinable, "two parts of caption"),
        (_asked(Part(item="cat")), NotJoinable, "the item 'cat'"),
        (_asked(text("dog", weight=0.0), picture(27, weight=0.0)), BadQuery, "cancel each other out"),
        (_asked(text("dog", weight=float("inf"))), BadQuery, "not a finite number"),
    ],
)
def test_what_cannot_guide_is_refused(
    guided: SearchEngine, guides: Guides, query: Query, error: type[AnyseekError], says: str
) -> None:
    with pytest.raises(error, match=says):
        guided.query("things", query)
    assert not guides.guided or error is BadQuery


def test_a_model_without_codes_names_another_fusion(database: Database, settings: Settings) -> None:
    embedder = WordsEmbedder()
    put(database, make_collection(database, embedder), embedder, ["dog"])
    engine = SearchEngine(database, settings, embedder)
    with pytest.raises(NotJoinable, match=r"'means' of the collection 'things' is not predicted as codes.*fusion late"):
        engine.query("things", _asked(*BOTH))


def test_a_hit_says_what_each_part_adds_to_the_guidance(guided: SearchEngine) -> None:
    parts = (text("dog", weight=2.0), picture(27, weight=0.5))
    found = guided.query("things", _asked(*parts, explain=1))
    (explained,) = found.explanations
    by_words, by_picture = explained.parts
    without = guided.query("things", _asked(parts[1]))
    assert explained.key == "dog"
    assert by_words.score_without == pytest.approx(_score(without, "dog"))
    assert by_picture.score_without == pytest.approx(_score(guided.query("things", _asked(parts[0])), "dog"))
    alone = guided.query("things", Query((text("dog"),), space="means"))
    assert by_words.similarity == pytest.approx(_score(alone, "dog"))


def test_what_one_weighted_part_says_alone_is_told_without_its_weight(guided: SearchEngine) -> None:
    found = guided.query("things", _asked(text("dog", weight=2.0), explain=1))
    (explained,) = found.explanations
    alone = guided.query("things", Query((text("dog"),), space="means"))
    assert explained.score == pytest.approx(found.hits[0].score)
    assert explained.parts[0].similarity == pytest.approx(alone.hits[0].score)
    assert explained.score != pytest.approx(alone.hits[0].score, abs=1e-3)


def _score(results: Results, key: str) -> float:
    return next(hit.score for hit in results.hits if hit.item.key == key)
