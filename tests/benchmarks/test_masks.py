import io

import numpy as np
from PIL import Image

from benchmarks.masks import gain, masks_of_rooms, parts, piece


def test_the_largest_piece_of_furniture_that_fits_is_asked_with() -> None:
    def share(of: float) -> np.ndarray:
        return np.arange(1000).reshape(20, 50) < of * 1000

    masks = {"wall": share(0.3), "bed": share(0.5), "desk": share(0.2), "lamp": share(0.1), "cup": share(0.02)}
    assert piece(masks) == "desk"
    assert piece({"wall": share(0.3), "cup": share(0.02)}) is None


def test_a_box_is_around_its_mask() -> None:
    mask = np.zeros((40, 80), bool)
    mask[10:30, 20:40] = True
    asked = parts("room", mask)
    assert asked["box"].box == [0.25, 0.25, 0.5, 0.75]
    assert isinstance(asked["mask"].mask, bytes)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(asked["mask"].mask))) > 0, mask)


def test_rooms_have_masks_that_share_out_their_pixels() -> None:
    masks = next(iter(masks_of_rooms().values()))
    assert {"wall", "floor"} <= set(masks)
    assert (np.sum(list(masks.values()), axis=0) <= 1).all()


def test_the_gain_of_what_is_better_everywhere_has_an_interval_above_0() -> None:
    assert gain([0.5, 0.7, 0.6], [0.4, 0.6, 0.5]) == "+0.100 (+0.100 +0.100)"
