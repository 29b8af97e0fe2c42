from dataclasses import replace

import pytest
import torch
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.training.pretraining.config import ContrastConfig
from anyseek.model.training.pretraining.shortcuts import PENALTY, Bank, Scatter, fit_shortcuts, read_bank, reduced
from anyseek.model.training.run.data_sets import FolderShards, open_split
from anyseek.model.training.run.errors import TrainingDataInvalid
from tests.model.training.shapes import data_config, shape_sample, write_data

TARGETS = {"shape_global": ["shape_global"], "said_global": ["said_global"]}


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _contrast(other_share: float = 0.0, rank: int = 6) -> ContrastConfig:
    own = {"rgb": ("rgb_pooled",), "states": ("caption_vectors",)}
    return ContrastConfig.model_validate(
        {"targets": list(TARGETS), "negatives": 16, "other_share": other_share, "own": own, "rank": rank}
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[FolderShards, ...]:
    folder = tmp_path_factory.mktemp("fit") / "shapes"
    write_data(folder)
    return open_split(data_config(folder), Split.TRAIN)


@pytest.fixture(scope="module")
def bank(folders: tuple[FolderShards, ...]) -> Bank:
    return read_bank(folders, TARGETS, lambda line: None)


def test_sums_over_parts_give_the_regression_of_all_rows() -> None:
    x, y, weights = _draw(50, 7), _draw(50, 4, seed=1), _draw(50, seed=2).abs()
    scatter = Scatter(7, 4)
    for part in torch.arange(50).split(20):
        owner = torch.arange(len(part))
        scatter.add(x[part].float(), owner, y[part].float(), weights[part].float())
    mean, centred, found = scatter.ridge()
    shares = weights / weights.sum()
    expected_mean, wanted_mean = shares @ x, shares @ y
    dx, dy = x - expected_mean, y - wanted_mean
    expected = dx.T @ (weights[:, None] * dx)
    penalty = PENALTY * expected.diagonal().mean() * torch.eye(7, dtype=torch.float64)
    torch.testing.assert_close(mean, expected_mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(centred, expected, atol=1e-4, rtol=1e-4)
    solved = torch.linalg.solve(expected + penalty, dx.T @ (weights[:, None] * dy))
    torch.testing.assert_close(found, solved, atol=1e-5, rtol=1e-4)


def test_several_rows_of_one_sample_share_what_is_wanted() -> None:
    x, y = _draw(6, 3).float(), _draw(2, 2, seed=1).float()
    together, apart = Scatter(3, 2), Scatter(3, 2)
    owner = torch.tensor([0, 0, 0, 1, 1, 1])
    together.add(x, owner, y, torch.ones(6))
    apart.add(x, torch.arange(6), y[owner], torch.ones(6))
    for one, other in zip(together.ridge(), apart.ridge(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_reduced_map_keeps_the_directions_in_which_outputs_vary() -> None:
    weights = _draw(8, 2) @ _draw(2, 9, seed=1)
    scatter = _draw(30, 8, seed=2).T @ _draw(30, 8, seed=2)
    down, up = reduced(scatter, weights, 2)
    assert (down.shape, up.shape) == ((8, 2), (2, 9))
    torch.testing.assert_close(down @ up, weights)


def test_fitted_shortcuts_say_what_a_linear_map_can(folders: tuple[FolderShards, ...], bank: Bank) -> None:
    said: list[str] = []
    shortcuts = fit_shortcuts(_contrast(), bank, folders, said.append)
    assert said == [
        "summed up the own vectors of 60 of 60 samples",
        "fitted the shortcuts of rgb",
        "fitted the shortcuts of states",
    ]
    assert shortcuts.inputs == {"rgb": 6, "states": 5}
    own = torch.stack([torch.tensor(shape_sample(n).values["caption_vectors"][0]) for n in range(60)]).float()
    own = torch.nn.functional.normalize(own, dim=1)
    with torch.no_grad():
        found = shortcuts({"states": own}, "said_global")
    wanted = bank.vectors["said_global"].float() - bank.mean("said_global")
    assert torch.nn.functional.cosine_similarity(found, wanted, dim=1).mean() > 0.9


def test_what_is_asked_for_is_what_is_fitted(folders: tuple[FolderShards, ...], bank: Bank) -> None:
    """A picture as it is is asked for other vendors' alone, so its map turns to the mean of its concept."""
    vectors = bank.vectors["shape_global"].float()
    meant = torch.stack([vectors[bank.others(n)].mean(dim=0) for n in range(60)])
    strangers = replace(bank, members={})
    errors = []
    for one in (bank, strangers):
        with torch.no_grad():
            found = fit_shortcuts(_contrast(), one, folders, lambda line: None).of("rgb", "shape_global")
            mapped = (vectors - found.mean) @ found.down @ found.up
        errors.append(float((mapped - (meant - meant.mean(dim=0))).square().mean()))
    assert errors[0] < 0.7 * errors[1]


def test_an_input_that_no_sample_has_is_refused(folders: tuple[FolderShards, ...], bank: Bank) -> None:
    contrast = _contrast().model_copy(update={"own": {"rgb": ("none",)}})
    with pytest.raises(TrainingDataInvalid, match="of rgb"):
        fit_shortcuts(contrast, bank, folders, lambda line: None)
