from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anyseek.model.data.samples import Split
from anyseek.model.training.pretraining.shortcuts import Bank, read_bank
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


def test_others_are_of_the_same_concept_and_another_vendor(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    folders = open_split(data_config(tmp_path / "data"), Split.TRAIN)
    bank = read_bank(folders, FIELDS, lambda line: None)
    for row in range(len(bank)):
        others = bank.others(row)
        assert len(others)
        assert set(bank.groups[others]) == {bank.groups[row]}
        assert all((other - row) % 2 for other in others.tolist())  # vendors take turns
    strangers = replace(bank, vendors=np.full(len(bank), -1), members={})
    assert not len(strangers.others(0))


def test_progress_is_told_and_what_no_sample_has_is_refused(folders: tuple[FolderShards, ...]) -> None:
    said: list[str] = []
    read_bank(folders, FIELDS, said.append)
    assert said[-1] == "read the vectors of 120 of 120 samples"
    with pytest.raises(TrainingDataInvalid, match="no sample has depth_global"):
        read_bank(folders, {"depth_global": ["depth_global"]}, said.append)
    with pytest.raises(TrainingDataInvalid, match=r"features\.npy of shapes0/0000 is neither a vector"):
        read_bank(folders, {"features": ["features"]}, said.append)
