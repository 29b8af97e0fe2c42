"""Batches of inputs: the same for the same number, and of samples that have what is asked for."""

from pathlib import Path

import torch

from anyseek.model.data.samples import Split
from anyseek.model.training.run.data_sets import open_split
from anyseek.model.training.tokenizing.batches import InputMaker, InputSource
from anyseek.model.training.tokenizing.config import read_config
from tests.model.training.runs import Written
from tests.model.training.tokenizing.scenes import settings


def _maker(path: Path) -> InputMaker:
    config = read_config(path)
    data = open_split(config.data, Split.TRAIN)
    return InputSource(config.modality, config.kind, config.tokenizer, data, 4, 8, config.seed).maker()


def test_a_batch_is_the_same_whenever_it_is_made(scenes: Path, written: Written) -> None:
    config = settings(scenes)
    config["modality"] = {"field": ["rgb", "normal"], "sizes": [16, 24]}
    path = written(config)
    one, other = _maker(path), _maker(path)
    batches = [one.training_batch(number) for number in range(6)]
    assert torch.equal(other.training_batch(4).values, batches[4].values)
    assert {batch.values.shape[2] for batch in batches} == {16, 24}
    assert [batch.number for batch in batches] == list(range(6))
    for batch in batches:
        assert (batch.samples, batch.empty) == (8, 0)
        assert batch.tokens == 8 * (batch.values.shape[2] // 4) ** 2
    assert not torch.equal(batches[0].values[:, :, :16, :16], batches[1].values[:, :, :16, :16])


def test_samples_without_the_field_are_passed_over(scenes: Path, written: Written) -> None:
    config = settings(scenes)
    config["modality"]["field"] = "normal"  # every fourth sample has none
    maker = _maker(written(config))
    for number in range(3):
        values = maker.training_batch(number).values
        torch.testing.assert_close(values, torch.full_like(values, 200 / 127.5 - 1))


def test_pictures_without_instances_are_passed_over(scenes: Path, written: Written) -> None:
    maker = _maker(written(settings(scenes, "mask")))
    values = maker.training_batch(0).values
    assert values.shape == (8, 1, 16, 16)
    assert values.flatten(1).amax(dim=1).tolist() == [1.0] * 8


def test_one_of_several_views_is_drawn(scenes: Path, written: Written) -> None:
    config = settings(scenes, "vector")
    config["modality"]["field"] = "views"
    maker = _maker(written(config))
    lengths = torch.cat([maker.training_batch(number).values.norm(dim=1) for number in range(6)])
    assert maker.training_batch(0).values.shape == (8, 6)
    assert len({round(float(length), 3) for length in lengths}) > 24  # more than one view of some
