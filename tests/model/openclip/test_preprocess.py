from typing import Any

import numpy as np
import pytest
import torch

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.openclip.embedder import Preprocessing
from tests.model.openclip.making import open_clip_or_skip

DEFAULTS: dict[str, Any] = {
    "size": 32,
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
SHAPES = [(32, 32), (31, 33), (33, 32), (100, 67), (67, 100), (201, 7), (3, 5), (64, 1000), (1, 1)]


def _picture(height: int, width: int) -> ByteArray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(autouse=True, scope="module")
def _needs_open_clip(request: pytest.FixtureRequest) -> None:
    open_clip_or_skip()


def _how(**changed: Any) -> Preprocessing:
    return Preprocessing(DEFAULTS | changed)


@pytest.mark.parametrize("size", [32, (32, 48), [47, 33]])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_any_shape_becomes_that_of_the_model(size: Any, resize_mode: str) -> None:
    how = _how(size=size, resize_mode=resize_mode)
    for shape in SHAPES:
        assert how.picture(_picture(*shape)).shape == (3, how.height, how.width)


def test_fingerprints_stay_those_of_earlier_versions() -> None:
    assert str(_how(mean=0.5, interpolation="random")) == (
        "Preprocessing(height=32, width=32, mean=(0.5, 0.5, 0.5), deviation=(0.26862954, 0.26130258, 0.27577711), "
        "interpolation='bicubic', resize_mode='shortest', fill=0)"
    )


@pytest.mark.parametrize("wrong", [{"interpolation": "cubic"}, {"resize_mode": "middle"}])
def test_what_is_not_known_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        _how(**wrong)


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("shape", [(1, 3_000_000), (3_000_000, 1)])
def test_a_sliver_does_not_fill_the_memory(shape: tuple[int, int], resize_mode: str) -> None:
    assert _how(size=224, resize_mode=resize_mode).picture(np.zeros((*shape, 3), np.uint8)).shape == (3, 224, 224)


def test_a_drawing_is_black_on_white_whole_and_of_either_polarity() -> None:
    how = _how(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    drawing = np.full((40, 120), 255, np.uint8)
    drawing[18:22, 2:118] = 0
    sheet = how.drawing(drawing)
    assert torch.equal(sheet, how.drawing(255 - drawing))
    assert sheet[:, 0].min() == 1  # paper above and below
    assert sheet[0, 16, 1:31].max() < 0.5  # the stroke goes from one end to the other
