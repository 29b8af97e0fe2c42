"""Dense values as images for tokenizers, and back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anyseek.model.fourm.images import (
    Crop,
    centre_crop,
    crop_and_resize,
    crop_to_squares,
    depth_image,
    depth_of,
    drawing_of,
    edge_image,
    flip_normals,
    label_image,
    line_image,
    normalise,
    picture_of,
    regions_of,
    rgb_input,
    rgb_tokenizer_input,
    standardise,
    to_signed,
    trimmed_values,
)
from anyseek.model.modalities.formats.spans import FormatInvalid
from anyseek.model.seam import Regions, Value

DEPTH = np.random.default_rng(0).uniform(1, 5, (40, 40)).astype(np.float32)


def test_both_polarities_of_a_drawing_are_the_same_image() -> None:
    drawing = np.full((64, 64), 255, np.uint8)
    drawing[30:33, 10:50] = 0
    for to_image in (line_image, edge_image):
        dark, light = to_image(drawing, 32), to_image(255 - drawing, 32)
        np.testing.assert_array_equal(dark, light)
        assert dark.shape == (1, 32, 32)
        assert dark.dtype == np.float32
        assert (dark.min(), dark.max()) == (-1, pytest.approx(1, abs=0.2))
    assert (line_image(drawing, 32) > 0).sum() < (edge_image(drawing, 32) > -1).sum()


@given(st.floats(0.001, 1000), st.integers(8, 40))
def test_the_unit_of_depth_does_not_matter(unit: float, size: int) -> None:
    reference = depth_image(DEPTH, size)
    assert reference.shape == (1, size, size)
    np.testing.assert_allclose(depth_image((DEPTH * unit).astype(np.float32), size), reference, atol=1e-3)


def test_unmeasured_depth_counts_as_the_median() -> None:
    holes = DEPTH.copy()
    holes[:10] = np.nan
    image = depth_image(holes, 40)
    assert np.isfinite(image).all()
    filled = np.where(np.isfinite(holes), holes, np.nanmedian(holes)).astype(np.float32)
    np.testing.assert_array_equal(image, depth_image(filled, 40))
    assert (depth_image(np.full((9, 9), 3.0, np.float32), 8) == 0).all()
    assert (depth_image(np.zeros((9, 9), np.float32), 8) == 0).all()


def test_depth_measured_outside_of_the_square_only_is_refused() -> None:
    wide = np.full((10, 30), np.nan, np.float32)
    wide[:, 0] = 1
    with pytest.raises(FormatInvalid, match="central square"):
        depth_image(wide, 8)


def test_labels_by_name_and_by_number() -> None:
    ids = np.array([[7, 7], [9, 300]])
    named = Regions(ids, {7: "person", 9: "sky", 300: "unicorn"})
    assert label_image(named, 2).tolist() == [[1, 1], [120, 0]]
    assert label_image(Regions(np.array([[0, 133], [255, 1]])), 2).tolist() == [[0, 133], [0, 1]]


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        (Regions(np.array([[134]])), "from 0 .none. to 133, not 134"),
        (Regions(np.array([[-1]])), "from 0"),
        (Regions(np.array([[1]]), {1: "unicorn"}), "unicorn none is one of COCO's, such as person"),
    ],
)
def test_labels_that_say_nothing_are_refused(regions: Regions, words: str) -> None:
    with pytest.raises(FormatInvalid, match=words):
        label_image(regions, 1)


def test_decoded_images_become_values() -> None:
    ramp = torch.linspace(-1, 1, 16).view(1, 4, 4)
    assert drawing_of(ramp).shape == (4, 4)
    assert drawing_of(ramp)[-1, -1] == 255
    assert picture_of(ramp.expand(3, 4, 4)).shape == (4, 4, 3)
    np.testing.assert_array_equal(depth_of(ramp), ramp[0].numpy())
    logits = torch.zeros(134, 1, 2)
    logits[120, 0, 0] = 1
    regions = regions_of(logits)
    assert regions.ids.tolist() == [[120, 0]]
    assert regions.classes == {120: "sky-other-merged"}


def test_predicted_labels_are_labels_again() -> None:
    predicted = regions_of(torch.randn(134, 16, 16, generator=torch.Generator().manual_seed(0)))
    np.testing.assert_array_equal(label_image(predicted, 16), predicted.ids)


def test_images_are_cut_to_their_centres_and_nothing_else_is() -> None:
    wide = np.arange(8, dtype=np.float32).reshape(2, 4)
    values: dict[str, Value] = {
        "depth": wide,
        "semseg": Regions(wide.astype(np.int32), {1: "wall"}),
        "caption": "a bed",
    }
    found = crop_to_squares(values)
    np.testing.assert_array_equal(found["depth"], [[1, 2], [5, 6]])
    assert isinstance(found["semseg"], Regions)
    np.testing.assert_array_equal(found["semseg"].ids, [[1, 2], [5, 6]])
    assert (found["semseg"].classes, found["caption"]) == ({1: "wall"}, "a bed")


PICTURE = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)


def test_pictures_are_cropped_to_their_centre_and_normalised() -> None:
    centre = crop_and_resize(PICTURE, Crop(0, 10, 30, 30), 16)
    np.testing.assert_array_equal(rgb_input(PICTURE, 16), normalise(centre))
    np.testing.assert_array_equal(rgb_tokenizer_input(PICTURE, 16), to_signed(centre))
    assert rgb_input(PICTURE).shape == (3, 224, 224)
    assert centre_crop(51, 30) == Crop(10, 0, 30, 30)


def test_normalised_pixels() -> None:
    white = np.full((2, 2, 3), 255, np.uint8)
    expected = [(1 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert normalise(white)[:, 0, 0] == pytest.approx(expected, abs=1e-6)
    assert to_signed(white).tolist() == [[[1.0, 1.0], [1.0, 1.0]]] * 3


def test_a_crop_beyond_the_picture_is_black_there() -> None:
    white = np.full((4, 4, 3), 255, np.uint8)
    out = crop_and_resize(white, Crop(0, 2, 4, 4), 4)
    assert not out[:, 2:].any()
    assert (out[:, :2] == 255).all()


def test_labels_keep_their_ids_when_resized() -> None:
    labels = np.array([[0, 200], [7, 255]], np.uint8)
    resized = crop_and_resize(labels, Crop(0, 0, 2, 2), 8, resample=Image.Resampling.NEAREST)
    assert set(np.unique(resized)) == {0, 7, 200, 255}


def test_the_middle_of_depth_has_no_mean_and_unit_deviation() -> None:
    depth = np.random.default_rng(0).integers(10_000, 20_000, (40, 50)).astype(np.uint16)
    depth[0, :50], depth[1, :50] = 0, 65535  # outliers
    values = depth.astype(np.float32)
    out = standardise(values, trimmed_values(values))[None]
    middle = np.sort(out, axis=None)[200:1800]
    assert out.shape == (1, 40, 50)
    assert middle.mean() == pytest.approx(0, abs=1e-5)
    assert middle.std(ddof=1) == pytest.approx(1, abs=2e-3)


def test_mirrored_normals_turn_their_first_component() -> None:
    normals = np.array([[[0, 1, 2], [255, 4, 5]]], np.uint8)
    assert flip_normals(normals).tolist() == [[[0, 4, 5], [255, 1, 2]]]
