"""The parts of the emoji suite that need no download; the whole of it is `anyseek eval --suite emoji`."""

import os
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import Art, Concept, base_concept, split_of
from anyseek.model.errors import WeightsMissing
from anyseek.model.galleries.openmoji import draw_svg, line_drawing
from anyseek.model.hashing import HashingEmbedder
from anyseek.search.evaluation import emoji_suite
from anyseek.search.evaluation.emoji_suite import run_emoji_suite

HOME = Path(os.environ.get("ANYSEEK_HOME", "~/.anyseek")).expanduser()
HEXCODES = [f"{0x1F300 + n:X}" for n in range(90)]


def _svg(hexcode: str) -> str:
    """A shape that is the hexcode's own: a disc in a place, of a size and colour of its own, with a line."""
    number = int(hexcode, 16) - 0x1F300
    x, y, colour = 15 + number % 9 * 5, 15 + number // 9 * 5, f"#{(number * 2654435) % 0xFFFFFF:06x}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
        f'<g id="color"><circle cx="{x}" cy="{y}" r="{8 + number % 7}" fill="{colour}"/></g>'
        f'<g id="line"><circle cx="{x}" cy="{y}" r="{8 + number % 7}" fill="none" stroke="black"/></g></svg>'
    )


@pytest.fixture
def small_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ninety made-up emoji of every vendor instead of fetched ones."""
    monkeypatch.setattr(
        emoji_suite, "fetch_concepts", lambda cache: {c: Concept(c, f"thing {c}", ()) for c in HEXCODES}
    )
    monkeypatch.setattr(emoji_suite, "fetch_openmoji", lambda cache: [Art("openmoji", c, _svg(c)) for c in HEXCODES])
    monkeypatch.setattr(
        emoji_suite, "fetch_vendor", lambda vendor, concepts, cache: [Art(vendor, c, _svg(c)) for c in HEXCODES]
    )


def test_the_suite_measures_every_kind_of_query(small_sources: None) -> None:
    said: list[str] = []
    try:
        rows = run_emoji_suite(HashingEmbedder(), HOME, said.append)
    except WeightsMissing as error:
        pytest.skip(str(error))
    unseen = sum(split_of(code) is Split.TEST for code in HEXCODES)
    assert [row.kind for row in rows] == [
        "same_vendor_line",
        "other_vendor_line",
        "other_vendor_picture",
        "caption",
        "palette",
    ]
    for row in rows:
        assert row.model.queries == row.baseline.queries == row.ridge.queries == unseen
        assert row.space == "hashing"
        assert row.others == {}
    pictures = next(row for row in rows if row.kind == "other_vendor_picture")
    assert pictures.model.at_1 == pictures.baseline.at_1 == 1.0, "the same picture finds itself"
    captions = next(row for row in rows if row.kind == "caption")
    assert captions.model.at_1 < 0.5, "a gallery without captions cannot be found by words"
    assert said


def test_a_line_drawing_leaves_the_colours_out() -> None:
    picture, line = draw_svg(_svg("1F355"), 72), draw_svg(line_drawing(_svg("1F355")), 72)
    assert np.ptp(picture.astype(int), axis=2).max() > 50
    assert np.ptp(line.astype(int), axis=2).max() == 0
    assert line.min() < 128


def test_a_machine_without_npm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnavailable, match="npm is needed to fetch emojibase-data@17"):
        emoji_suite.fetch_concepts(tmp_path)


def test_one_drawing_stands_for_a_concept() -> None:
    art = [Art("x", "1F469-200D-1F373", ""), Art("x", "1F9D1-200D-1F373", ""), Art("x", "1F468-200D-1F373", "")]
    chosen = emoji_suite.one_each(art)
    assert [(key, drawing.hexcode) for key, drawing in chosen.items()] == [("1F9D1-200D-1F373", "1F9D1-200D-1F373")]
    assert base_concept(art[0].hexcode) == "1F9D1-200D-1F373"
