from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.training.pretraining.config import ContrastConfig
from anyseek.model.training.pretraining.shortcuts import PENALTY, Bank, Scatter, fit_shortcuts, read_bank
from anyseek.model.training.run.data_sets import FolderShards, entries_of, open_split
from anyseek.model.training.run.errors import TrainingDataInvalid
from tests.model.training.shapes import COLOURS, SAMPLES, data_config, shape_sample, write_data

FIELDS = {"shape_global": ["shape_global"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[FolderShards, ...]:
    """Two data sets; in each every other sample is of another source."""
    root = tmp_path_factory.mktemp("bank")
    for name in ("one", "other"):
        write_data(root / name, weights=(1.0, 0.5))
    return open_split(data_config(root / "one", root / "other"), Split.TRAIN)


@pytest.fixture(scope="module")
def bank(folders: tuple[FolderShards, ...]) -> Bank:
    return read_bank(folders, FIELDS, lambda line: None)


def test_rows_are_the_samples_of_all_folders_in_order(folders: tuple[FolderShards, ...], bank: Bank) -> None:
    assert len(bank) == 2 * SAMPLES[Split.TRAIN]
    assert [folder.first for folder in folders] == [0, SAMPLES[Split.TRAIN]]
    for row, (folder, entry) in enumerate(entries_of(folders, ["shape_global"])):
        assert row >= folder.first
        number = int(entry.key.rpartition("/")[2])
        expected = torch.tensor(shape_sample(number).values["shape_global"])
        torch.testing.assert_close(bank.vectors["shape_global"][row].float(), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(bank.mean("shape_global"), bank.vectors["shape_global"].float().mean(dim=0))


def test_a_group_is_a_concept_of_one_source_of_one_folder(bank: Bank) -> None:
    samples = SAMPLES[Split.TRAIN]
    concepts = [shape_sample(number).attributes["concept"] for number in range(samples)]
    for one in range(samples):
        for other in range(2 * samples):
            same_place = other < samples and one % 2 == other % 2
            alike = same_place and concepts[one] == concepts[other % samples]
            assert bool(bank.groups[one] == bank.groups[other]) is alike
    assert len(set(bank.groups.tolist())) == 2 * 2 * len(COLOURS)


def test_progress_is_told_and_what_no_sample_has_is_refused(folders: tuple[FolderShards, ...]) -> None:
    said: list[str] = []
    read_bank(folders, FIELDS, said.append)
    assert said[-1] == "read the vectors of 120 of 120 samples"
    with pytest.raises(TrainingDataInvalid, match="no sample has depth_global"):
        read_bank(folders, {"depth_global": ["depth_global"]}, said.append)
    with pytest.raises(TrainingDataInvalid, match=r"features\.npy of shapes0/0000 is neither a vector"):
        read_bank(folders, {"features": ["features"]}, said.append)


TARGETS = {"shape_global": ["shape_global"], "said_global": ["said_global"]}


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _contrast(other_share: float = 0.0, rank: int = 6) -> ContrastConfig:
    own = {"rgb": ("rgb_pooled",), "states": ("caption_vectors",)}
    return ContrastConfig.model_validate(
        {"targets": list(TARGETS), "negatives": 16, "other_share": other_share, "own": own, "rank": rank}
    )


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[FolderShards, ...]:
    folder = tmp_path_factory.mktemp("fit") / "shapes"
    write_data(folder)
    return open_split(data_config(folder), Split.TRAIN)


@pytest.fixture(scope="module")
def one_bank(one_folder: tuple[FolderShards, ...]) -> Bank:
    return read_bank(one_folder, TARGETS, lambda line: None)


def test_sums_over_parts_give_the_regression_of_all_rows() -> None:
    x, y, weights = _draw(50, 7), _draw(50, 4, seed=1), _draw(50, seed=2).abs()
    scatter = Scatter(7, 4)
    for row in range(50):
        scatter.add(x[row : row + 1].float().numpy(), y[row].float(), float(weights[row]))
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


def test_others_are_of_the_same_concept_and_another_vendor(one_bank: Bank) -> None:
    for row in range(len(one_bank)):
        others = one_bank.same_concept_rows(row)
        assert len(others)
        assert set(one_bank.groups[others]) == {one_bank.groups[row]}
        assert all((other - row) % 2 for other in others.tolist())  # vendors take turns
    assert not len(replace(one_bank, members={}).same_concept_rows(0))


def test_fitted_shortcuts_say_what_a_linear_map_can(one_folder: tuple[FolderShards, ...], one_bank: Bank) -> None:
    said: list[str] = []
    shortcuts = fit_shortcuts(_contrast(), one_bank, one_folder, said.append)
    assert said[0] == "summed up the own vectors of 60 of 60 samples"
    assert said[1:] == [f"fitted the shortcuts of {name}" for name in ("rgb", "states")]
    assert shortcuts.inputs == {"rgb": 6, "states": 5}
    own = torch.stack([torch.tensor(shape_sample(n).values["caption_vectors"][0]) for n in range(60)]).float()
    with torch.no_grad():
        found = shortcuts({"states": F.normalize(own, dim=1)}, "said_global")
    wanted = one_bank.vectors["said_global"].float() - one_bank.mean("said_global")
    assert F.cosine_similarity(found, wanted, dim=1).mean() > 0.9


def test_what_is_asked_for_is_what_is_fitted(one_folder: tuple[FolderShards, ...], one_bank: Bank) -> None:
    """A picture as it is is asked for other vendors' alone, so its map turns to the mean of its concept."""
    vectors = one_bank.vectors["shape_global"].float()
    meant = torch.stack([vectors[one_bank.same_concept_rows(n)].mean(dim=0) for n in range(60)])
    strangers = replace(one_bank, members={})
    errors = []
    for one in (one_bank, strangers):
        with torch.no_grad():
            found = fit_shortcuts(_contrast(), one, one_folder, lambda line: None).shortcut("rgb", "shape_global")
            mapped = (vectors - found.mean) @ found.down @ found.up
        errors.append(float((mapped - (meant - meant.mean(dim=0))).square().mean()))
    assert errors[0] < 0.7 * errors[1]


def test_an_input_that_no_sample_has_is_refused(one_folder: tuple[FolderShards, ...], one_bank: Bank) -> None:
    contrast = _contrast().model_copy(update={"own": {"rgb": ("none",)}})
    with pytest.raises(TrainingDataInvalid, match="of rgb"):
        fit_shortcuts(contrast, one_bank, one_folder, lambda line: None)
