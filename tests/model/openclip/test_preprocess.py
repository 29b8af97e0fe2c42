import importlib.util
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.openclip.embedder import Preprocessing, drawing_input, picture_input
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


@pytest.mark.parametrize("size", [32, (32, 48), [47, 33]])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
def test_equal_to_open_clips_own_transform(size: Any, resize_mode: str, interpolation: str) -> None:
    open_clip_or_skip()
    from open_clip.transform import PreprocessCfg, image_transform_v2

    changed = {"size": size, "resize_mode": resize_mode, "interpolation": interpolation, "fill_color": 9}
    config = PreprocessCfg(**DEFAULTS | changed)
    transform = image_transform_v2(config, is_train=False)
    how = Preprocessing.from_config(asdict(config))
    for shape in SHAPES:
        picture = _picture(*shape)
        try:
            expected = transform(Image.fromarray(picture)).numpy()
        except ValueError:  # open_clip scales one side of a sliver to nothing
            assert resize_mode == "longest"
            expected = None
        found = picture_input(picture, how)
        assert found.dtype == np.float32
        assert found.shape == (3, how.height, how.width)
        if expected is not None:
            np.testing.assert_array_equal(found, expected)


def test_one_number_stands_for_three_channels() -> None:
    how = Preprocessing.from_config(DEFAULTS | {"mean": 0.5, "std": 0.25})
    np.testing.assert_array_equal(picture_input(np.full((40, 40, 3), 255, np.uint8), how), np.full((3, 32, 32), 2.0))


@pytest.mark.parametrize("wrong", [{"interpolation": "cubic"}, {"resize_mode": "middle"}])
def test_what_is_not_known_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        Preprocessing.from_config(DEFAULTS | wrong)


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("shape", [(1, 3_000_000), (3_000_000, 1)])
def test_a_sliver_does_not_fill_the_memory(shape: tuple[int, int], resize_mode: str) -> None:
    how = Preprocessing.from_config(DEFAULTS | {"size": 224, "resize_mode": resize_mode})
    assert picture_input(np.zeros((*shape, 3), np.uint8), how).shape == (3, 224, 224)


def test_a_drawing_is_black_on_white_whole_and_of_either_polarity() -> None:
    how = Preprocessing.from_config(DEFAULTS | {"mean": 0.0, "std": 1.0})
    drawing = np.full((40, 120), 255, np.uint8)
    drawing[18:22, 2:118] = 0
    sheet = drawing_input(drawing, how)
    np.testing.assert_array_equal(sheet, drawing_input(255 - drawing, how))
    assert sheet[:, 0].min() == 1  # paper above and below
    assert sheet[0, 16, 1:31].max() < 0.5  # the stroke goes from one end to the other


PROGRAM = """
import torch
from anyseek.model.openclip.embedder import define_missing_operators, library_loads
define_missing_operators()
define_missing_operators()
print(library_loads(), hasattr(torch.ops.torchvision, "nms"), hasattr(torch.ops.torchvision, "qnms"))
"""


def _run(program: str, *first: Path) -> str:
    path = [str(folder) for folder in (*first, *(entry for entry in sys.path if entry))]
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def torchvision(tmp_path: Path) -> Path:
    """A package of that name without its library."""
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").touch()
    return folder


def test_a_library_that_loads_is_left_alone(torchvision: Path) -> None:
    built = Path(str(np._core._multiarray_umath.__file__))  # type: ignore[attr-defined]
    shutil.copy(built, torchvision / "_C.so")
    assert _run(PROGRAM, torchvision.parent) == "True False False"


def test_a_library_that_does_not_load_is_made_up_for(torchvision: Path) -> None:
    (torchvision / "_C.so").write_bytes(b"no library")
    assert _run(PROGRAM, torchvision.parent) == "False True True"


def test_a_missing_library_too(torchvision: Path) -> None:
    assert _run(PROGRAM, torchvision.parent) == "False True True"


def test_the_installed_torchvision_can_be_imported() -> None:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    program = "from anyseek.model.openclip.embedder import define_missing_operators\ndefine_missing_operators()\n"
    assert _run(f"{program}import torchvision.transforms; print('imported')") == "imported"
