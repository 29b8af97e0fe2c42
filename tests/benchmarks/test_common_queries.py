"""The sheet of common queries, which is judged by eye."""

from PIL import Image

from benchmarks.common_queries import FIRST, QUERIES, sheet


def test_the_sheet_has_a_row_of_photos_for_each_query() -> None:
    colours = [(12 * number, 100, 200) for number in range(len(QUERIES))]
    drawn = sheet([[Image.new("RGB", (160, 107), colour)] * FIRST for colour in colours])
    shown = {colour for _, colour in drawn.getcolors(1 << 20) or ()}
    assert set(colours) <= shown
