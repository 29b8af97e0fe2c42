"""What is understood of a query: the form of its file, the part in a box, and what a mask covers."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from anyseek.model.modalities.reading.decode import forms_of, interpret, interpret_masked
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.reading.errors import BadRegion, DecodeError, UnknownForm, UnknownModality
from anyseek.model.modalities.registry import MODALITIES
from tests.model.modalities.files import png

LIMITS = FileLimits()


def _png(size: tuple[int, int] = (40, 20), exif: Image.Exif | None = None) -> bytes:
    stream, image = io.BytesIO(), Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    image.save(stream, "PNG", exif=exif or Image.Exif())
    return stream.getvalue()


def _cut(data: bytes, *box: float) -> np.ndarray:
    return np.asarray(interpret("rgb", data, LIMITS, "a.png", box=box).value)


def test_a_box_is_cut_out_in_fractions() -> None:
    right = interpret("rgb", _png(), LIMITS, "a.png", box=(0.5, 0.25, 1, 0.75))
    assert np.asarray(right.value).shape == (10, 20, 3)
    assert np.unique(np.asarray(right.value).reshape(-1, 3), axis=0).tolist() == [[0, 0, 255]]
    assert right.interpretation.sentence == "only the box 0.5, 0.25, 1, 0.75 of a.png is used, 20 x 10 pixels"
    assert _cut(_png(), 0.999, 0.999, 1, 1).shape == (1, 1, 3)
    np.testing.assert_array_equal(_cut(_png(), 0, 0, 1, 1), interpret("rgb", _png(), LIMITS, "a").value)


def test_a_small_part_of_a_large_picture_keeps_its_details() -> None:
    assert _cut(_png((2000, 1000)), 0.4, 0.4, 0.6, 0.6).shape == (200, 400, 3)
    assert max(_cut(_png((2000, 1000)), 0, 0, 1, 1).shape) == 512


@pytest.mark.parametrize(
    ("box", "turn", "decoded"),
    [
        ((0.25, 0.25, 0.75, 0.75), 1, (1500, 1125)),
        ((0, 0, 1, 0.5), 1, (1500, 1125)),
        ((0, 0, 0.5, 1), 6, (1500, 1125)),
        ((0, 0, 1, 1), 1, (750, 563)),
        ((0.4, 0.4, 0.6, 0.6), 1, (3000, 2250)),
    ],
)
def test_a_part_is_decoded_as_large_as_it_is_looked_at(
    box: tuple[float, ...], turn: int, decoded: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 3000 x 2250 pixels, the upright picture 2250 x 3000 where it is turned."""
    shades = np.add.outer(np.linspace(0, 100, 2250), np.linspace(0, 150, 3000)).astype(np.uint8)
    exif, stream, sizes = Image.Exif(), io.BytesIO(), []
    exif[0x0112] = turn
    Image.fromarray(shades).convert("RGB").save(stream, "JPEG", quality=95, exif=exif)
    load = JpegImageFile.load_prepare
    monkeypatch.setattr(JpegImageFile, "load_prepare", lambda image: sizes.append(image.size) or load(image))
    part = _cut(stream.getvalue(), *box).astype(int)
    assert sizes == [decoded]
    assert max(part.shape) == 512
    upright = shades if turn == 1 else np.rot90(shades, -1)
    high, wide = upright.shape
    whole = upright[int(box[1] * high) : int(box[3] * high), int(box[0] * wide) : int(box[2] * wide)]
    expected = Image.fromarray(np.ascontiguousarray(whole)).resize(part.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(part[:, :, 0] - np.asarray(expected).astype(int)).max() <= 4


def test_a_box_is_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # its left half is at the top once it is upright
    top = _cut(_png(exif=exif), 0, 0, 1, 0.5)
    assert np.unique(top.reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((0.5, 0, 0.5, 1), "the box of a.png is 0.5, 0, 0.5, 1 and empty"),
        ((0.6, 0, 0.5, 1), "empty; left is below right"),
        ((0, 0, 2, 1), "from 0 to 1"),
        ((-0.1, 0, 1, 1), "from 0 to 1"),
        ((float("nan"), 0, 1, 1), "from 0 to 1"),
        ((0, 0, 1), "left, top, right and bottom"),
    ],
)
def test_a_box_outside_or_empty_is_one_sentence(box: tuple[float, ...], says: str) -> None:
    with pytest.raises(BadRegion, match=says):
        _cut(_png(), *box)


def test_a_box_is_of_pictures_alone() -> None:
    with pytest.raises(BadRegion, match="a is canny_edge and has a box; a box is of a picture"):
        interpret("sketch", _png(), LIMITS, "a", box=(0, 0, 1, 1))


_ITEM_FORM = {"depth": "far-bright", "normal": "right-up-viewer", "semseg": "ids", "canny_edge": "clean"}


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_forms_that_are_told_are_those_that_are_taken(modality: str) -> None:
    forms = forms_of(modality)
    picture = png(np.repeat(np.array([[10] * 16, [200] * 16], np.uint8), 8, axis=0))
    assert all(forms.values())
    for form in [*forms, "red"]:
        try:
            interpret(modality, picture, LIMITS, "a.png", form=form)
            refused = False
        except DecodeError as error:  # the picture may have no such content, but the form is known
            refused = isinstance(error, UnknownForm)
        assert refused == (form not in forms), form


def test_the_first_form_is_that_of_items() -> None:
    assert {name: next(iter(forms_of(name))) for name in _ITEM_FORM} == _ITEM_FORM
    assert forms_of("sketch") == forms_of("canny_edge")
    assert forms_of("caption") == {}
    with pytest.raises(UnknownModality):
        forms_of("smell")


def test_a_form_beside_a_box_is_refused_as_without_one() -> None:
    for box in (None, (0.0, 0.0, 0.5, 0.5)):
        with pytest.raises(UnknownForm, match="a is rgb, which has one form only"):
            interpret("rgb", _png(), LIMITS, "a", form="near-bright", box=box)


RED, BLUE, GREY = (200, 30, 30), (20, 40, 220), (120, 120, 120)


def scene() -> np.ndarray:
    """Red above blue on grey: rows 10 to 50, columns 20 to 40 of 60 x 80."""
    values = np.full((60, 80, 3), GREY, np.uint8)
    values[10:30, 20:40], values[30:50, 20:40] = RED, BLUE
    return values


def masked(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return interpret_masked("image", png(picture), LIMITS, "a.png", png(mask)).value


@pytest.mark.parametrize("number", [1, 255])
@pytest.mark.parametrize("scale", [1, 2])
def test_what_is_not_0_counts(number: int, scale: int) -> None:
    mask = np.zeros((60 // scale, 80 // scale), np.uint8)
    mask[10 // scale : 50 // scale, 20 // scale : 40 // scale] = number
    found = masked(scene(), mask)
    np.testing.assert_array_equal(found, scene()[10:50, 20:40])


def test_the_rest_of_its_box_has_the_mean_colour_of_what_counts() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 20:40] = 1
    mask[40, 50] = 1  # makes the box wider
    found = masked(scene(), mask)
    assert found.shape == (31, 31, 3)
    np.testing.assert_array_equal(found[:20, :20], scene()[10:30, 20:40])
    mean = np.rint(scene()[mask == 1].mean(axis=0))
    np.testing.assert_array_equal(found[25, 5], mean)
    assert (found[-1, -1] == GREY).all()


def test_a_mask_thinner_than_a_pixel_of_the_picture_covers_what_it_touches() -> None:
    mask = np.zeros((600, 800), np.uint8)
    mask[300, 100:700] = mask[100, 400] = 1
    assert masked(scene(), mask).shape[:2] == (21, 60)


@pytest.mark.parametrize(
    ("pixels", "share"), [(4800, "only 100.0%"), (2400, "only 50.0%"), (80, "only 1.7%"), (1, "less than 0.1%")]
)
def test_the_sentence_says_how_much_counts(pixels: int, share: str) -> None:
    mask = (np.arange(60 * 80) < pixels).astype(np.uint8).reshape(60, 80)
    interpretation = interpret_masked("image", png(scene()), LIMITS, "a.png", png(mask)).interpretation
    assert interpretation.sentence == f"{share} of a.png is used, where its mask is not 0"


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.zeros((60, 80), np.uint8), "the mask of a.png is 0 everywhere"),
        (np.ones((80, 60), np.uint8), "the mask of a.png is 60 x 80, which are not the proportions"),
        (np.ones((60, 80, 3), np.uint8), "the mask of a.png"),
    ],
)
def test_a_wrong_mask_is_one_sentence(mask: np.ndarray, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        masked(scene(), mask)


def test_only_pictures_have_masks() -> None:
    with pytest.raises(BadRegion, match="is depth and has a mask"):
        interpret_masked("depth", b"", LIMITS, "a.png", png(np.ones((2, 2), np.uint8)))
    with pytest.raises(DecodeError, match=r"the mask of a\.png"):
        interpret_masked("rgb", png(scene()), LIMITS, "a.png", b"nonsense")
