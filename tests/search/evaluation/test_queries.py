"""The suite of queries of several parts: what it counts, on made-up emoji and on what ships."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from anyseek.api.commands.eval_output import query_lines
from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import Art, Concept, base_concept, split_of
from anyseek.model.hashing import HashingEmbedder
from anyseek.model.seam import Sample
from anyseek.search.evaluation import queries
from anyseek.search.evaluation.queries import measure_queries, one_per_concept
from anyseek.search.types import Hit, Query, Results

HEXCODES = [f"{0x1F300 + n:X}" for n in range(60)]
UNSEEN = [code for code in HEXCODES if split_of(code) is Split.TEST]


def _svg(hexcode: str, dash: str = "") -> str:
    """A disc in a place, of a colour of its own."""
    number = int(hexcode, 16) - 0x1F300
    x, colour = 15 + number % 9 * 5, f"#{(number * 2654435) % 0xFFFFFF:06x}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
        f'<g id="color"><circle cx="{x}" cy="36" r="{8 + number % 7}" fill="{colour}"/></g>'
        f'<g id="line"><circle cx="{x}" cy="36" r="{8 + number % 7}" fill="none" stroke="black"{dash}/></g></svg>'
    )


@pytest.fixture
def small_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    def vendor(name: str, concepts: object, folder: Path) -> list[Art]:
        return [Art(name, code, _svg(code, ' stroke-dasharray="4"')) for code in HEXCODES]

    concepts = {code: Concept(code, f"thing {code}", ()) for code in HEXCODES}
    monkeypatch.setattr(queries, "fetch_concepts", lambda folder: concepts)
    monkeypatch.setattr(queries, "fetch_openmoji", lambda folder: [Art("o", code, _svg(code)) for code in HEXCODES])
    monkeypatch.setattr(queries, "fetch_vendor", vendor)


def test_rows_that_the_model_takes_are_asked_of_the_engine(small_sources: None, tmp_path: Path) -> None:
    found = measure_queries(HashingEmbedder(), tmp_path, 6, lambda line: None)
    count = min(6, len(UNSEEN))
    assert [row.name for row in found.rows] == [
        "emoji: caption + palette",
        "emoji: drawing + palette",
        "emoji: caption + drawing + palette",
        "emoji: item + colour",
        "emoji: item + palette",
        "photos: title + colour",
    ]
    assert {row.queries for row in found.rows[:5]} == {row.gallery for row in found.rows[:5]} == {count}
    items = found.rows[4]
    assert set(items.parts) == {"item", "palette"}
    assert items.gain.value == pytest.approx(items.together.value - max(part.value for part in items.parts.values()))
    assert found.palette.queries == count
    lines = list(query_lines(found))
    assert len(lines) == 1 + len(found.rows) + 1
    assert lines[1].startswith("emoji: caption + palette")


def test_only_emoji_that_training_never_saw_are_measured(small_sources: None, tmp_path: Path) -> None:
    assert set(queries.unseen_emoji(tmp_path, None).pictures) == set(UNSEEN)


def test_a_gain_is_taken_query_by_query(small_sources: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every second query finds its item, whatever its parts, nothing is gained and the interval is empty."""

    @contextmanager
    def every_second(embedder: HashingEmbedder, samples: Mapping[str, Sample]) -> Iterator[SimpleNamespace]:
        def answers(asked: Sequence[Query]) -> list[Results]:
            right = [(Hit(key, 1.0, 1),) if place % 2 else () for place, key in enumerate(samples)]
            return [Results(hits, None) for hits in right[: len(asked)]]

        yield SimpleNamespace(answers=answers)

    monkeypatch.setattr(queries, "real_collection", every_second)
    for row in measure_queries(HashingEmbedder(), tmp_path, 40, lambda line: None).rows:
        assert 0 < row.together.value < 1
        assert (row.gain.low, row.gain.high) == (0, 0)


def test_a_machine_without_npm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnavailable, match="npm is needed to fetch emojibase-data@17"):
        queries.unseen_emoji(tmp_path, None)


def test_one_drawing_stands_for_a_concept() -> None:
    art = [Art("x", "1F469-200D-1F373", ""), Art("x", "1F9D1-200D-1F373", ""), Art("x", "1F468-200D-1F373", "")]
    chosen = one_per_concept(art)
    assert [(key, drawing.hexcode) for key, drawing in chosen.items()] == [("1F9D1-200D-1F373", "1F9D1-200D-1F373")]
    assert base_concept(art[0].hexcode) == "1F9D1-200D-1F373"
