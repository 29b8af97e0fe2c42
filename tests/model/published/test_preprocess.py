"""Preprocessing of published checkpoints."""

import numpy as np
import pytest
from PIL import Image

from model.published.preprocess import (
    Crop,
    centre_crop,
    crop_resized,
    flipped_normals,
    normalised,
    rgb_input,
    rgb_tokenizer_input,
    shifted_labels,
    signed,
    standardised_depth,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)


def test_pictures_are_cropped_to_their_centre_and_normalised() -> None:
    centre = crop_resized(PICTURE, Crop(0, 10, 30, 30), 16)
    np.testing.assert_array_equal(rgb_input(PICTURE, 16), normalised(centre))
    np.testing.assert_array_equal(rgb_tokenizer_input(PICTURE, 16), signed(centre))
    assert rgb_input(PICTURE).shape == (3, 224, 224)
    assert centre_crop(51, 30) == Crop(10, 0, 30, 30)


def test_normalised_pixels() -> None:
    white = np.full((2, 2, 3), 255, np.uint8)
    expected = [(1 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert normalised(white)[:, 0, 0] == pytest.approx(expected, abs=1e-6)
    assert signed(white).tolist() == [[[1.0, 1.0], [1.0, 1.0]]] * 3


def test_a_crop_beyond_the_picture_is_black_there_and_a_flip_mirrors() -> None:
    white = np.full((4, 4, 3), 255, np.uint8)
    out = crop_resized(white, Crop(0, 2, 4, 4), 4, flip=True)
    assert not out[:, :2].any()
    assert (out[:, 2:] == 255).all()


def test_labels_keep_their_ids_when_resized() -> None:
    labels = np.array([[0, 200], [7, 255]], np.uint8)
    resized = crop_resized(labels, Crop(0, 0, 2, 2), 8, resample=Image.Resampling.NEAREST)
    assert set(np.unique(resized)) == {0, 7, 200, 255}
    assert shifted_labels(labels).tolist() == [[1, 201], [8, 0]]


def test_the_middle_of_depth_has_no_mean_and_unit_deviation() -> None:
    depth = np.random.default_rng(0).integers(10_000, 20_000, (40, 50)).astype(np.uint16)
    depth[0, :50], depth[1, :50] = 0, 65535  # outliers
    out = standardised_depth(depth)
    middle = np.sort(out, axis=None)[200:1800]
    assert out.shape == (1, 40, 50)
    assert middle.mean() == pytest.approx(0, abs=1e-5)
    assert middle.std(ddof=1) == pytest.approx(1, abs=2e-3)


def test_mirrored_normals_turn_their_first_component() -> None:
    normals = np.array([[[0, 1, 2], [255, 4, 5]]], np.uint8)
    assert flipped_normals(normals).tolist() == [[[0, 4, 5], [255, 1, 2]]]
