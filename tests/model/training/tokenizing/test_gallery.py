"""Pictures of reconstructions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anyseek.model.tokenizers.inputs import InputKind
from anyseek.model.training.tokenizing.evaluation import draw_gallery


def test_inputs_are_on_the_left_and_reconstructions_on_the_right(tmp_path: Path) -> None:
    path = tmp_path / "made" / "pictures.png"
    draw_gallery(InputKind.PICTURE, torch.ones(2, 3, 64, 64), -torch.ones(2, 3, 64, 64), path)
    picture = np.asarray(Image.open(path))
    assert picture.shape == (2 * 68, 2 * 68, 3)
    assert picture[:, :68].min() == 255
    assert picture[70:134, 70:134].max() == 0
    assert [one.name for one in path.parent.iterdir()] == ["pictures.png"]


@pytest.mark.parametrize(
    ("kind", "wanted", "rebuilt"),
    [
        (InputKind.PICTURE, torch.randn(3, 1, 8, 8) * 3, torch.randn(3, 1, 8, 8)),
        (InputKind.LABELS, torch.randint(4, (3, 8, 8)), torch.randn(3, 4, 8, 8)),
        (InputKind.MASK, torch.ones(3, 1, 8, 8), torch.randn(3, 1, 8, 8)),
        (InputKind.MAP, torch.randn(3, 5, 4, 4), torch.randn(3, 5, 4, 4)),
        (InputKind.VECTOR, torch.randn(3, 70), torch.randn(3, 70)),
    ],
)
def test_every_kind_can_be_shown(tmp_path: Path, kind: InputKind, wanted: torch.Tensor, rebuilt: torch.Tensor) -> None:
    draw_gallery(kind, wanted, wanted if wanted.is_floating_point() else rebuilt, tmp_path / "same.png")
    draw_gallery(kind, wanted, rebuilt, tmp_path / "other.png")
    same, other = (np.asarray(Image.open(tmp_path / name)) for name in ("same.png", "other.png"))
    assert same.shape == other.shape
    if wanted.is_floating_point() and kind is not InputKind.MASK:
        assert np.array_equal(*np.split(same, 2, axis=1))
    assert not np.array_equal(same, other) or kind is InputKind.LABELS
