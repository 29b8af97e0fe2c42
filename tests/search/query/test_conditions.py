"""A clear colour beside other parts is a condition: hits have it and what the others ask for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from anyseek.model.colours.space import COLOURS, colour_space
from anyseek.model.seam import FloatArray, Fusion, Sample
from anyseek.search.catalogue import items
from anyseek.search.engine import SearchEngine
from anyseek.search.query import planning
from anyseek.search.query.conditions import clear_colour, with_colour_named
from anyseek.search.query.rankings import fuse_rankings, score_contributions
from anyseek.search.types import NewItem, Part, Query, Results
from tests.search.engines import engine_over
from tests.search.gallery import Things, WordsEmbedder, direction, keys, text, unit
from tests.search.query.test_rankings import ranking

RED, BLUE, GREY, BLACK, WHITE = (200, 20, 35), (30, 60, 200), (110, 105, 100), (5, 5, 5), (250, 250, 250)


def palette(*colours: Sequence[int], weight: float = 1.0) -> Part:
    return Part("color_palette", np.array(colours, np.uint8), weight=weight)


@pytest.mark.parametrize(("colour", "name"), [(RED, "red"), (BLUE, "blue"), (BLACK, "black"), (WHITE, "white")])
def test_one_vivid_colour_or_black_or_white_is_clear(colour: tuple[int, ...], name: str) -> None:
    assert clear_colour([palette(colour)]) == name


@pytest.mark.parametrize(
    "parts",
    [
        [palette(GREY)],
        [palette((90, 70, 60))],
        [palette(RED, BLUE)],
        [palette(RED, weight=-1.0)],
        [palette(RED), palette(BLUE)],
        [text("red")],
        [Part("color_palette", vector=np.ones(3, np.float32))],
        [],
    ],
    ids=["grey", "dull", "two colours", "unwanted", "two palettes", "words", "a vector", "nothing"],
)
def test_other_parts_are_no_clear_colour(parts: list[Part]) -> None:
    assert clear_colour(parts) is None


def test_captions_are_asked_with_the_colour_too_and_weigh_what_they_did() -> None:
    sketch, unwanted = Part("canny_edge", np.zeros((2, 2), np.uint8)), text("dog", -1.0)
    parts = with_colour_named((text("a car", 3.0), sketch, unwanted), "red")
    assert [(part.value, part.weight) for part in parts if part.modality == "caption"] == [
        ("a car", pytest.approx(1.5)),
        ("dog", -1.0),
        ("a car, red", pytest.approx(1.5)),
    ]
    assert sketch in parts


def test_what_has_both_comes_before_what_has_more_of_the_colour() -> None:
    words, colour = ranking(1.0, 0.2, 3.8, 4.0, *[0.1] * 50), ranking(1.0, 6.0, 1.5, -1.0, *[1.6] * 50)
    assert fuse_rankings([words, colour]).ids[0] == 0
    rankings = [words, replace(colour, is_condition=True)]
    found = fuse_rankings(rankings)
    assert found.ids[0] == 1
    assert found.scores.max() <= 1
    for item_id, score in zip(found.ids.tolist(), found.scores.tolist(), strict=True):
        assert score == pytest.approx(sum(score_contributions(rankings, item_id)))


class SeesColours(WordsEmbedder):
    """`WordsEmbedder` with the space of colours, in which captions point towards each of their words."""

    modalities = frozenset({"caption", "rgb", "color_palette"})

    def __init__(self) -> None:
        super().__init__()
        self._colours = colour_space("looks")
        self.spaces = {**self.spaces, COLOURS: self._colours.space}
        self.said: list[str] = []

    def default_space(self, modality: str) -> str:
        return COLOURS if modality == "color_palette" else super().default_space(modality)

    def embed(self, samples: Sequence[Sample], spaces: Sequence[str]) -> dict[str, FloatArray]:
        self.said += [str(sample.values["caption"]) for sample in samples if "caption" in sample.values]
        found = super().embed(samples, [space for space in spaces if space != COLOURS])
        return {**found, **({COLOURS: self._colours.vectors(samples, False)} if COLOURS in spaces else {})}

    def vector(self, sample: Sample, space: str) -> FloatArray:
        said = str(sample.values.get("caption", "nothing")).replace(",", "").split()
        return unit(unit(sum(direction(word, space) for word in said)) + self.lean(space))


def _fill(things: Things) -> None:
    """Cats with a patch of a colour, red tomatoes, and grey things of many kinds."""
    pictures = {f"cat with {name}": ("cat", colour, 12) for name, colour in (("red", RED), ("blue", BLUE))}
    pictures |= {f"tomato {n}": ("tomato", RED, 60) for n in range(4)}
    pictures |= {f"{kind} {n}": (kind, GREY, 60) for kind in ("cat", "house", "tree") for n in range(4)}
    embedder, new = things.embedder, []
    for number, (key, (said, colour, height)) in enumerate(pictures.items()):
        picture = np.full((64, 64, 3), 40 + 8 * number, np.uint8)
        picture[:height] = colour
        sample = Sample({"caption": said, "rgb": picture})
        vectors = {space: embedder.embed([sample], [space])[space][0] for space in embedder.spaces}
        new.append(NewItem(key, f"hash of {key}", vectors, said))
    with things.database.write() as session:
        items.write(session, things.collection, new)


@pytest.fixture(scope="module", params=["faiss", "qdrant"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    home = tmp_path_factory.mktemp("coloured")
    with engine_over(home, _fill, backend=request.param, embedder=SeesColours()) as engine:
        yield engine


def ask(engine: SearchEngine, *parts: Part, **options: object) -> Results:
    return engine.query("things", Query(parts, **options))


def said(engine: SearchEngine, *parts: Part, **options: object) -> set[str]:
    """The captions that are embedded for a query."""
    assert isinstance(engine.embedder, SeesColours)
    engine.embedder.said.clear()
    ask(engine, *parts, **options)
    return set(engine.embedder.said)


def test_hits_have_the_colour_and_what_is_asked_for(engine: SearchEngine) -> None:
    for name, colour in (("red", RED), ("blue", BLUE)):
        for parts in ((text("cat"), palette(colour)), (palette(colour), text("cat"))):
            found = ask(engine, *parts, k=20)
            assert keys(found)[0] == f"cat with {name}"
            assert found.fusion == Fusion.RANKS
            scores = [hit.score for hit in found.hits]
            assert scores == sorted(scores, reverse=True)
            assert 0.5 < scores[0] <= 1


def test_the_colour_is_named_beside_words_unless_it_is_no_condition(engine: SearchEngine) -> None:
    assert said(engine, text("cat"), palette(RED)) == {"cat", "cat, red"}
    assert said(engine, text("cat"), palette(GREY)) == {"cat"}
    assert said(engine, text("cat"), palette(RED, BLUE)) == {"cat"}
    assert said(engine, text("cat"), palette(RED, weight=-1.0)) == {"cat"}
    assert said(engine, text("cat", weight=-1.0), palette(RED)) == {"cat"}
    assert said(engine, text("cat"), palette(RED), fusion="ranks") == {"cat"}
    assert said(engine, text("cat"), palette(RED), space="means") == {"cat"}
    assert said(engine, text("cat"), palette(RED), spaces=("means", "looks")) == {"cat"}


def test_a_colour_alone_is_compared_as_ever(engine: SearchEngine) -> None:
    assert ask(engine, palette(RED), k=5).hits == ask(engine, palette(RED), k=5, space=COLOURS).hits


def test_what_words_found_has_a_colour_however_many_items_have_more_of_it(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_FUSION_DEPTH", 3)
    found = ask(engine, text("cat"), palette(BLUE), k=3, explain=1)
    assert keys(found)[0] == "cat with blue"
    found = ask(engine, text("cat"), palette(RED), k=9, explain=9)
    places = {why.key: [share.rank for share in why.rankings] for why in found.explanations}
    assert all(of_colour is not None for _, of_colour in places.values())


def test_an_explanation_has_the_score_and_the_named_colour(engine: SearchEngine) -> None:
    for parts in ((text("cat"), palette(RED)), (palette(RED), text("cat"))):
        found = ask(engine, *parts, explain=4)
        for hit, why in zip(found.hits, found.explanations, strict=False):
            assert why.score == pytest.approx(hit.score)
            assert sum(share.share for share in why.rankings) == pytest.approx(hit.score)
            assert [part.text for part in why.parts if part.modality == "caption"] == ["cat", "cat, red"]
        (colour,) = [part for part in found.explanations[0].parts if part.modality == "color_palette"]
        assert colour.rank == 1 + keys(ask(engine, palette(RED), k=20)).index("cat with red")


def test_a_batch_and_pages_answer_as_one_query_does(engine: SearchEngine) -> None:
    both, alone = Query((text("cat"), palette(RED)), k=20), Query((palette(BLUE),), k=20)
    answers = engine.query_batch("things", [alone, both])
    assert [answers[1], answers[0]] == [engine.query("things", both), engine.query("things", alone)]
    first = ask(engine, *both.parts, k=4)
    then = ask(engine, *both.parts, k=4, cursor=first.next)
    assert keys(first) + keys(then) == keys(engine.query("things", both))[:8]
