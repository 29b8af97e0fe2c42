"""The picture of a map: each item on a cell of its own near its place, in colours that the legend explains."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

import anyseek.api.maps.picture
from anyseek.api.maps.picture import SIDE, draw, middle_of_cells, nearest_free_cells


def found(count: int, colour: str | None = None) -> dict[str, Any]:
    random = np.random.default_rng(0)
    places = [
        {"key": str(number), "x": x, "y": y, "value": None, "colour": colour}
        for number, (x, y) in enumerate(random.uniform(-1, 1, (count, 2)).tolist())
    ]
    legend = [{"colour": colour, "label": "all of it", "items": count}] if colour else []
    return {"places": places, "legend": legend, "items": count}


def plain(_: str) -> Image.Image:
    return Image.new("RGB", (40, 30), "#102030")


def test_every_position_has_a_cell_of_its_own_near_it() -> None:
    positions = np.random.default_rng(1).uniform(-1, 1, (90, 2)).astype(np.float32)
    cells = nearest_free_cells(positions, 12, 12)
    assert len(set(cells.tolist())) == 90
    apart = np.stack([cells % 12, cells // 12], axis=1) / 11 * 2 - 1 - positions
    assert np.median(np.linalg.norm(apart, axis=1)) < 0.12


def test_equal_positions_spread_around_their_place() -> None:
    positions = np.concatenate([np.zeros((9, 2)), [[-1, -1], [1, 1]]]).astype(np.float32)
    cells = nearest_free_cells(positions, 9, 9)[:9]
    assert {(cell % 9, cell // 9) for cell in cells.tolist()} == {(x, y) for x in (3, 4, 5) for y in (3, 4, 5)}
    assert sorted(nearest_free_cells(np.zeros((4, 2), np.float32), 2, 2).tolist()) == [0, 1, 2, 3]


def test_a_cell_shows_the_item_in_its_middle() -> None:
    positions = np.array([[0, 0], [0.3, 0], [0.95, 0], [1, 0], [0, 1]], np.float32)
    shown, cells = middle_of_cells(positions, 2, 2)
    assert (shown.tolist(), cells.tolist()) == ([0, 3, 4], [0, 1, 2])


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_thumbnails_do_not_overlap(count: int) -> None:
    sheet = draw(found(count), plain)
    assert (sheet.shown, sheet.blank) == (count, 0)
    dark = int((np.asarray(sheet.picture) == (0x10, 0x20, 0x30)).all(axis=2).sum())
    assert dark == count * 40 * 30  # they are shown as they are, never larger
    assert max(sheet.picture.size) <= SIDE


def test_colours_are_frames_with_a_legend() -> None:
    bare, framed = draw(found(30), plain), draw(found(30, "#d55e00"), plain)
    assert framed.picture.height > bare.picture.height
    assert ((np.asarray(framed.picture) == (0xD5, 0x5E, 0x00)).all(axis=2)).sum() > 30 * 500


def test_items_without_a_thumbnail_are_counted() -> None:
    assert draw(found(5), lambda key: None if key == "3" else plain(key)).blank == 1


def test_too_many_items_are_points_or_the_middle_of_each_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyseek.api.maps.picture, "MOST_THUMBNAILS", 50)
    points = draw(found(200, "#d55e00"), plain)
    assert (points.shown, points.picture.width) == (200, SIDE)
    monkeypatch.setattr(anyseek.api.maps.picture, "_MOST_CELLS", 5)
    middles = draw(found(200), plain)
    assert middles.shown == 25
    monkeypatch.undo()
