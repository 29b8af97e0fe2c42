from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch

from anyseek.model.data.samples import Split
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.batches import Batch, BatchMaker, BatchSource
from anyseek.model.training.pretraining.config import read_config
from anyseek.model.training.pretraining.plan import make_plan, make_vocabulary, save_vocabulary
from anyseek.model.training.run.data_sets import open_split, texts_of
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.run.loop import batches_between
from tests.model.training.runs import Written
from tests.model.training.shapes import data_config, settings, write_data


@pytest.fixture
def source(data: Path, written: Written, tmp_path: Path) -> BatchSource:
    """Of all kinds of modalities."""
    values = settings(data)
    values["modalities"] |= {
        "metadata": {"kind": "text", "input": 1, "max_length": 20},
        "features": {"kind": "map", "input": 1, "grid": [4, 4], "channels": 3},
        "states": {"kind": "states", "lengths": "state_lengths", "input": 1, "width": 6, "max_length": 5},
        "shape_global": {"kind": "vector", "input": 0.5, "target": 1, "tokenizer": "none"},
    }
    config = read_config(written(values))
    folders = open_split(config.data, Split.TRAIN)
    save_vocabulary(make_vocabulary(texts_of(folders, ["caption"]), 40), tmp_path / "vocabulary.json")
    text = TextTokenizer.from_file(tmp_path / "vocabulary.json")
    plan = make_plan(config, text, {"shape_global": TokenizerConfig(6, num_codebooks=4, codebook_size=8)})
    return BatchSource(plan, config.mixture, folders, config.data.window, 8, config.seed)


def _tensors(batch: Batch) -> dict[str, torch.Tensor]:
    found = {f"vector {key}": rows for key, rows in batch.vectors.items()}
    found |= {f"input {key}": given.values for key, given in batch.inputs.items()}
    found |= {f"input mask {key}": given.mask for key, given in batch.inputs.items()}
    found |= {f"target {key}": wanted.ids for key, wanted in batch.targets.items()}
    return found | {f"target mask {key}": wanted.mask for key, wanted in batch.targets.items()}


def _assert_same(one: Batch, other: Batch) -> None:
    assert _tensors(one).keys() == _tensors(other).keys()
    for name, tensor in _tensors(one).items():
        torch.testing.assert_close(tensor, _tensors(other)[name], rtol=0, atol=0, msg=name)


def test_used_tokens_stay_within_the_budgets_and_are_counted(source: BatchSource) -> None:
    maker = BatchMaker(source)
    for number in range(6):
        batch = maker.training_batch(number)
        inputs = sum((~given.mask).sum(dim=1) for given in batch.inputs.values())
        targets = sum((~wanted.mask).sum(dim=1) for wanted in batch.targets.values())
        assert inputs.max() <= source.mixture.input_tokens.most
        assert targets.max() <= source.mixture.target_tokens.most
        assert (inputs > 0).all()
        assert batch.tokens == int(inputs.sum() + targets.sum())
        both = batch.inputs.get("tok_rgb", ModalityInput(torch.zeros(0), torch.ones(8, 16, dtype=torch.bool)))
        assert (both.mask | batch.targets["tok_rgb"].mask).all()


def test_a_batch_is_a_function_of_its_number(source: BatchSource) -> None:
    one, other = BatchMaker(source), BatchMaker(source)
    for number in (3, 0, 7):
        _assert_same(one.training_batch(number), other.training_batch(number))
    assert _tensors(one.training_batch(1)).keys()
    changed = BatchMaker(replace(source, seed=4)).training_batch(0)
    assert not torch.equal(changed.vectors["shape_global"], one.training_batch(0).vectors["shape_global"])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_processes_that_read_ahead_change_nothing(source: BatchSource, workers: int) -> None:
    maker = BatchMaker(source)
    found = list(batches_between(source, 2, 9, workers))
    assert len(found) == 7
    for number, batch in enumerate(found, start=2):
        _assert_same(batch, maker.training_batch(number))


def test_a_source_can_be_sent_to_a_process_that_was_not_forked(source: BatchSource) -> None:
    assert len(ForkingPickler.dumps(source)) > 0


def test_a_whole_batch_gives_everything_that_is_asked(source: BatchSource) -> None:
    batch, found = BatchMaker(source).whole_batch([0, 5, 9], ["caption", "features"], ["shape_global"])
    assert found == [0, 5, 9]
    assert set(batch.inputs) == {"caption", "features"}
    assert not batch.inputs["features"].mask.any()
    assert not batch.targets["shape_global"].mask.any()
    assert batch.targets["caption"].mask.all()
    text = source.plan.text
    words = text.decode(batch.inputs["caption"].values[0][~batch.inputs["caption"].mask[0]].tolist())
    assert words.endswith("[EOS]")
    assert "[S_" not in words


def test_sources_that_are_drawn_more_often_come_more_often(source: BatchSource, tmp_path: Path) -> None:
    write_data(tmp_path / "weighted", weights=(1.0, 0.25))
    folders = open_split(data_config(tmp_path / "weighted"), Split.TRAIN)
    assert folders[0].source_weights == {"shapes0": 1.0, "shapes1": 0.25}
    maker = BatchMaker(replace(source, folders=folders))
    places = [maker._draw_place(number) for number in range(1500)]
    again = BatchMaker(replace(source, folders=folders))
    assert places[::-1] == [again._draw_place(number) for number in reversed(range(1500))]
    keys = [maker._reader.key(folders[0].paths[place.shard], place.sample) for place in places]
    assert np.mean([key.startswith("shapes0/") for key in keys]) == pytest.approx(0.8, abs=0.04)


def test_data_that_cannot_be_drawn_from_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingConfigInvalid, match="no samples in its split test"):
        open_split(data_config(data), Split.TEST)
    with pytest.raises(TrainingConfigInvalid, match="less than a thousandth"):
        open_split(data_config(data, data, weights=(1.0, 1e-4)), Split.TRAIN)
    assert len(open_split(data_config(data, tmp_path, weights=(1.0, 0.0)), Split.TRAIN)) == 1
