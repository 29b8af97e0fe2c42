"""Photographs of drawings are cleaned, and clean drawings are left alone to the bit."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.photographed_drawings import clean_drawing, is_photographed
from anyseek.model.modalities.reading.decode import decode, interpret
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.reading.errors import DecodeError
from tests.model.modalities.files import png
from tests.model.modalities.photographed_sketches import photographed

LIMITS = FileLimits()


def _drawing() -> ByteArray:
    image = Image.new("L", (240, 240), 255)
    pen = ImageDraw.Draw(image)
    pen.ellipse((50, 60, 190, 200), outline=0, width=5)
    pen.line([(60, 30), (120, 70), (180, 30)], fill=0, width=5)
    return np.asarray(image)


def _placed(drawing: ByteArray) -> np.ndarray:
    """The ink cut out and scaled to 64 x 64, blurred by that: where strokes are, whatever their width."""
    rows, columns = np.nonzero(drawing < 128)
    cut = Image.fromarray(drawing[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
    return 255 - np.asarray(cut.resize((64, 64), Image.Resampling.BOX).resize((12, 12), Image.Resampling.BOX), float)


@pytest.mark.parametrize("seed", range(5))
def test_a_photograph_becomes_the_drawing(seed: int) -> None:
    photo = photographed(_drawing(), np.random.default_rng(seed))
    reading = interpret("sketch", photo, LIMITS, "photo.jpg")
    assert reading.interpretation.form == "photographed"
    assert reading.interpretation.sentence.startswith(
        "photo.jpg is a drawing photographed from paper, less light and shadow"
    )
    found = np.asarray(reading.value)
    assert np.median(found) == 255
    alike = np.corrcoef(_placed(found).ravel(), _placed(_drawing()).ravel())[0, 1]
    assert alike > 0.75


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
@pytest.mark.parametrize("negative", [False, True])
def test_clean_drawings_stay_to_the_bit(mode: str, negative: bool) -> None:
    drawing = 255 - _drawing() if negative else _drawing()
    stream = io.BytesIO()
    Image.fromarray(drawing).convert(mode).save(stream, "PNG")
    reading = interpret("sketch", stream.getvalue(), LIMITS, "a")
    assert reading.interpretation is None
    np.testing.assert_array_equal(reading.value, decode("sketch", stream.getvalue(), LIMITS, "a"))


def test_what_is_said_is_done() -> None:
    photo = photographed(_drawing(), np.random.default_rng(0))
    kept = interpret("sketch", photo, LIMITS, "a", form="clean")
    np.testing.assert_array_equal(kept.value, decode("sketch", photo, LIMITS, "a"))
    told = interpret("sketch", png(_drawing()), LIMITS, "a", form="photographed")
    assert (told.interpretation.form, told.interpretation.sure) == ("photographed", 1.0)


def test_what_has_no_strokes_on_paper_stays_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3)).astype(np.uint8)
    reading = interpret("sketch", png(noise), LIMITS, "noise.png")
    assert reading.interpretation.sentence.startswith("noise.png is a drawing without strokes on paper")
    np.testing.assert_array_equal(reading.value, decode("sketch", png(noise), LIMITS, "a"))
    with pytest.raises(DecodeError, match="noise is empty"):
        interpret("sketch", b"", LIMITS, "noise")


@pytest.mark.filterwarnings("error")  # a median of no pixels is a warning and NaN
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2), (300, 7), (7, 9)])
def test_pictures_of_any_size_are_looked_at(shape: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    clean_drawing(grey)
    is_photographed(grey[:, :, 0])
    interpret("sketch", png(grey), LIMITS, "a", form="photographed")


def test_the_lines_of_the_paper_are_no_strokes() -> None:
    sheet = np.repeat(_drawing()[..., None], 3, axis=2).astype(np.int32)
    sheet[::12] = np.minimum(sheet[::12], (185, 205, 240))
    found = clean_drawing(sheet.astype(np.uint8))
    assert found.drawing.shape[0] < 240  # cropped to the drawing, not to the ruled sheet
    assert np.mean(found.drawing < 128) < 0.2
