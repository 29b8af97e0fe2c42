"""Maps and images of samples: what is seen, what is mirrored, and what a sample does not have."""

from typing import Any

import numpy as np
import pytest
import torch

from anyseek.model.data.samples import DataSample
from anyseek.model.encoders.efficientnet import LEVELS, EfficientNetLite0
from anyseek.model.fourm.bundled.dense_decoder import SEEN
from anyseek.model.seam import Regions
from anyseek.model.training.dense.features import PLACES, DenseMaker, Look, sampled, seen_pixels

LABELS = {"wall": 1, "chair": 5}


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLite0:
    torch.manual_seed(0)
    return EfficientNetLite0().eval()


def room(key: str, **left_out: Any) -> DataSample:
    """A sample of 64 x 48 pixels, the left of its centre a wall 2 m away, the right a chair and a thing, 1 m away."""
    wide, high = 64, 48
    left = np.arange(wide) < wide // 2
    picture = np.where(left[None, :, None], np.uint8(200), np.uint8(40)).repeat(high, axis=0).repeat(3, axis=2)
    ids = np.where(left, 3, 4)[None].repeat(high, axis=0)
    ids[: high // 2, ~left] = 9
    values: dict[str, Any] = {
        "rgb": picture,
        "depth": np.where(left, 2.0, 1.0)[None].repeat(high, axis=0).astype(np.float32),
        "normal": np.full((high, wide, 3), (255, 128, 128), np.uint8),
        "semseg": Regions(ids, {3: "wall", 4: "chair", 9: "thing"}),
    }
    return DataSample(key, {name: value for name, value in values.items() if name not in left_out}, {})


def test_a_file_has_the_maps_of_what_is_seen_and_the_images_of_each_sample(encoder: EfficientNetLite0) -> None:
    made = DenseMaker(encoder, LABELS).make([room("a"), room("b", normal=False, depth=False, semseg=False)])
    assert made["sample"].tolist() == [0, 0, 0, 1, 1]
    assert made["mirrored"].tolist()[:2] == [False, True]
    assert (made["input"][[0, 1, 3, 4]] == 0).all(), "every picture is seen twice"
    assert made["input"][2] > 0
    for number, (side, channels, _) in enumerate(LEVELS):
        assert made[f"level{number}"].shape == (5, channels, side, side)
    assert (made["depth"][0, :, : PLACES // 2] == 2).all()
    assert made["semseg"][0].unique().tolist() == [0, 1, 5], "a name without a label is not known"
    assert made["depth"][1].isnan().all()
    assert not made["normal"][1].any()
    assert not made["semseg"][1].any()


def test_for_validation_every_modality_is_seen_as_it_is(encoder: EfficientNetLite0) -> None:
    made = DenseMaker(encoder, LABELS, every=True).make([room("a")])
    assert [SEEN[number] for number in made["input"]] == ["rgb", "depth", "normal", "semseg"]
    assert not made["mirrored"].any()


def test_mirrored_pictures_are_turned_round_and_mirrored_normals_point_the_other_way() -> None:
    values = room("a").values
    plain = seen_pixels(values["rgb"], Look(0, "rgb", mirrored=False))
    np.testing.assert_array_equal(seen_pixels(values["rgb"], Look(0, "rgb", mirrored=True)), plain[:, ::-1])
    turned = seen_pixels(values["normal"], Look(0, "normal", mirrored=True))
    assert turned[112, 112].tolist() == [0, 128, 128]


def test_images_are_sampled_at_the_centres_of_their_places() -> None:
    rows = np.arange(3 * PLACES)[:, None].repeat(3 * PLACES, axis=1)
    assert sampled(rows)[:3, 0].tolist() == [1, 4, 7]
