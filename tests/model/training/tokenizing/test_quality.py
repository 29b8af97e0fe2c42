"""Qualities of reconstructions by hand, over several batches."""

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.tokenizers.inputs import InputKind
from anyseek.model.training.tokenizing.evaluation import Quality


def test_pictures() -> None:
    quality = Quality(InputKind.PICTURE)
    quality.add(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.2))
    quality.add(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    found = quality.columns()
    assert found["quality/l1"] == pytest.approx(0.1)
    assert found["quality/psnr"] == pytest.approx(10 * torch.tensor(4 / 0.02).log10().item())


def test_labels() -> None:
    quality = Quality(InputKind.LABELS, 4)
    wanted = torch.tensor([[[0, 0], [1, 1]]])
    guessed = torch.tensor([[[0, 1], [1, 2]]])
    quality.add(wanted, F.one_hot(guessed, 4).movedim(-1, 1).float())
    found = quality.columns()
    assert found["quality/accuracy"] == 0.5
    assert found["quality/miou"] == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)  # label 3 does not occur


def test_masks() -> None:
    quality = Quality(InputKind.MASK)
    quality.add(torch.tensor([[[[1.0, 1.0, 0.0]]]]), torch.tensor([[[[5.0, -5.0, 5.0]]]]))
    assert quality.columns()["quality/iou"] == pytest.approx(1 / 3)


def test_maps_and_vectors() -> None:
    maps = Quality(InputKind.MAP)
    rows = torch.randn(2, 5, 3, 3)
    maps.add(rows, 7 * rows)
    assert maps.columns()["quality/cosine"] == pytest.approx(1.0)
    vectors = Quality(InputKind.VECTOR)
    one = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    vectors.add(one[:3], one[:3])
    vectors.add(one[3:], one[3:].flip(0))
    found = vectors.columns()
    assert found["quality/found"] == pytest.approx(4 / 6)
    assert 0 < float(found["quality/cosine"] or 0) < 1


@pytest.mark.parametrize("kind", InputKind)
def test_nothing_gives_nothing(kind: InputKind) -> None:
    assert set(Quality(kind, 3).columns().values()) == {None}
