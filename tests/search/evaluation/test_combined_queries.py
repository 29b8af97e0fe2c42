"""The suite of queries of several parts: what it counts, on made-up emoji and on what ships."""

from dataclasses import replace
from pathlib import Path

import pytest

from anyseek.api.commands.eval_output import combined_lines
from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import Art, Concept, split_of
from anyseek.model.hashing import HashingEmbedder
from anyseek.search.evaluation import combined_queries, emoji_suite
from anyseek.search.evaluation.combined_queries import CombinedRow, NegativeRow, measure_combined
from anyseek.search.evaluation.measures import Estimate

HEXCODES = [f"{0x1F300 + n:X}" for n in range(60)]
UNSEEN = [code for code in HEXCODES if split_of(code) is Split.TEST]


def _exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


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

    class Shown:
        """A row of the table of emoji."""

        def __init__(self, hexcode: str) -> None:
            self.hexcode, self.subgroup = hexcode, "discs"

    concepts = {code: Concept(code, f"thing {code}", ()) for code in HEXCODES}
    monkeypatch.setattr(emoji_suite, "fetch_concepts", lambda folder: concepts)
    monkeypatch.setattr(emoji_suite, "fetch_openmoji", lambda folder: [Art("o", code, _svg(code)) for code in HEXCODES])
    monkeypatch.setattr(emoji_suite, "fetch_vendor", vendor)
    monkeypatch.setattr(combined_queries, "read_concepts", lambda: [Shown(code) for code in HEXCODES])


def test_rows_that_the_model_takes_are_asked_of_the_engine(small_sources: None, tmp_path: Path) -> None:
    found = measure_combined(HashingEmbedder(), tmp_path, 12, lambda line: None)
    count = min(12, len(UNSEEN))
    assert [row.kind for row in found.scores][-1] == "all"
    assert {"caption", "palette", "caption + palette"} <= {row.kind for row in found.scores}
    assert all(0 <= row.error <= 1 and 0 <= row.by_probability <= 1 for row in found.scores)
    assert sum(row.queries for row in found.scores[:-1]) == found.scores[-1].queries
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
    assert items.gain.value == pytest.approx(items.together.value - items.parts[items.best].value)
    assert found.palette is not None
    assert found.palette.queries == count
    (unlike,) = found.negatives
    assert (unlike.queries, unlike.gallery) == (count, count)
    assert unlike.change.value == pytest.approx(unlike.after.value - unlike.before.value)
    lines = list(combined_lines(found))
    assert found.depth_forms is not None
    assert (found.depth_forms.maps, len(found.depth_forms.right)) == (12, 8)
    assert found.depth_forms.reached
    assert found.normal_forms is not None
    assert (found.normal_forms.maps, found.normal_forms.reached) == (12, True)
    assert found.photographed is not None
    assert (found.photographed.queries, found.photographed.gallery) == (count, count)
    assert len(lines) == 1 + len(found.rows) + 5 + 2 + len(found.scores)
    assert lines[1].startswith("emoji: caption + palette")


@pytest.mark.parametrize(
    ("best", "together", "reached"),
    [
        (0.4, 0.46, True),
        (0.4, 0.45, False),
        (0.8, 0.87, True),
        (0.8, 0.86, False),
        (1.0, 1.0, True),
        (1.0, 0.99, False),
    ],
)
def test_the_aim_is_15_per_cent_more_or_a_third_fewer_misses(best: float, together: float, reached: bool) -> None:
    parts = {"words": _exactly(0.1), "colours": _exactly(best)}
    row = CombinedRow("x", 100, 100, parts, _exactly(together), _exactly(together - best))
    assert (row.best, row.reached) == ("colours", reached)


def test_a_negative_part_lowers_the_unwanted_and_keeps_the_rest() -> None:
    kept = NegativeRow("x", 9, 9, _exactly(0.5), _exactly(0.49), _exactly(-0.01), _exactly(0.8), _exactly(0.1))
    assert kept.reached
    assert not replace(kept, change=_exactly(-0.03)).reached
    assert not replace(kept, fell=_exactly(0.4)).reached
