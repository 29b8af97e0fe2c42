"""The picture of predictions: whose they are, and where each is."""

import numpy as np

from anyseek.model.seam import Sample
from anyseek.search.evaluation.output_sheet import OutputSheet

RED, BLUE, WHITE = [255, 0, 0], [0, 0, 255], [255, 255, 255]


def _picture(colour: list[int], height: int = 40, width: int = 40) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def _cells(sheet: OutputSheet) -> list[list[list[int]]]:
    """The colour in the middle of each cell, row by row."""
    pixels = np.asarray(sheet.drawn())
    rows = range(44 + 64, pixels.shape[0], 134)
    columns = [6 + column * 134 + (column + 1) // 2 * 6 + 64 for column in range(pixels.shape[1] // 134)]
    return [[pixels[row, column].tolist() for column in columns] for row in rows]


def test_a_row_has_the_picture_what_is_known_and_what_was_predicted() -> None:
    sheet = OutputSheet("rgb")
    first = Sample({"rgb": _picture(RED), "normal": _picture(BLUE), "caption": "red"})
    second = Sample({"rgb": _picture(BLUE), "color_palette": np.array([BLUE], np.uint8)})
    sheet.add(first, "caption", "has no look")
    sheet.add(first, "color_palette", np.zeros((0, 3), np.uint8))  # nor has what has no colour
    sheet.add(first, "normal", _picture(RED))
    sheet.add(second, "color_palette", np.array([RED], np.uint8))
    assert _cells(sheet) == [[RED, WHITE, WHITE, BLUE, RED], [BLUE, BLUE, RED, WHITE, WHITE]]


def test_only_the_first_things_are_drawn_and_of_each_all() -> None:
    sheet = OutputSheet("rgb", rows=2)
    for colour in (RED, BLUE, WHITE, RED):
        sample = Sample({"rgb": _picture(colour), "normal": _picture(colour), "depth": np.ones((4, 4), np.float32)})
        sheet.add(sample, "depth", np.ones((4, 4), np.float32))
        sheet.add(sample, "normal", _picture(colour))
    assert [[row[0], row[-1]] for row in _cells(sheet)] == [[RED, RED], [BLUE, BLUE]]


def test_of_what_is_no_square_the_centre_is_drawn() -> None:
    wide = np.concatenate([_picture(BLUE, 40, 40), _picture(RED, 40, 40), _picture(BLUE, 40, 40)], axis=1)
    sheet = OutputSheet("rgb")
    sheet.add(Sample({"rgb": wide, "normal": wide}), "normal", _picture(RED))
    pixels = np.asarray(sheet.drawn())
    for column in (6, 6 + 127, 146, 146 + 127):
        assert pixels[44 + 64, column].tolist() == RED
