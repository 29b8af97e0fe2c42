"""Qualities of reconstructions by hand, over several batches. Pictures of reconstructions."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from anyseek.model.tokenizers.inputs import InputKind
from anyseek.model.training.tokenizing.evaluation import Quality, draw_gallery


def _measured(kind: InputKind, *batches: tuple[torch.Tensor, torch.Tensor]) -> list[float]:
    quality = Quality(kind, 4)
    for wanted, rebuilt in batches:
        quality.add(wanted, rebuilt)
    return [float(value or 0) for value in quality.columns().values()]


def test_qualities_are_those_of_all_batches() -> None:
    zeros = torch.zeros(1, 1, 2, 2)
    error, psnr = _measured(InputKind.PICTURE, (zeros, zeros + 0.2), (zeros, zeros))
    assert error == pytest.approx(0.1)
    assert psnr == pytest.approx(10 * torch.tensor(4 / 0.02).log10().item())
    guessed = F.one_hot(torch.tensor([[[0, 1], [1, 2]]]), 4).movedim(-1, 1).float()
    found = _measured(InputKind.LABELS, (torch.tensor([[[0, 0], [1, 1]]]), guessed))
    assert found == pytest.approx([0.5, (1 / 2 + 1 / 3 + 0) / 3])  # label 3 does not occur
    mask, logits = torch.tensor([[[[1.0, 1.0, 0.0]]]]), torch.tensor([[[[5.0, -5.0, 5.0]]]])
    assert _measured(InputKind.MASK, (mask, logits)) == pytest.approx([1 / 3])
    maps = torch.randn(2, 5, 3, 3)
    assert _measured(InputKind.MAP, (maps, 7 * maps)) == pytest.approx([1.0])
    rows = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    cosine, share = _measured(InputKind.VECTOR, (rows[:3], rows[:3]), (rows[3:], rows[3:].flip(0)))
    assert share == pytest.approx(4 / 6)
    assert 0 < cosine < 1


@pytest.mark.parametrize("kind", InputKind)
def test_nothing_gives_nothing(kind: InputKind) -> None:
    assert set(Quality(kind, 3).columns().values()) == {None}


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
