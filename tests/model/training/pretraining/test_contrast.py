from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.training.pretraining.batches import Batch, BatchMaker
from anyseek.model.training.pretraining.config import read_config
from anyseek.model.training.pretraining.objective import Contrast, Objective
from anyseek.model.training.pretraining.train import prepare
from anyseek.model.training.run.folder import RunFolder
from anyseek.model.training.run.loop import Trainer
from anyseek.model.training.run.processes import ALONE
from tests.model.training.shapes import with_contrast

TARGET = "shape_global"


@pytest.fixture
def trainer(config: dict[str, Any], written: Callable[[dict[str, Any]], Path], tmp_path: Path) -> Trainer:
    folder = RunFolder(tmp_path / "run")
    path = written(with_contrast(config, tmp_path))
    with folder.locked():
        return prepare(read_config(path), folder, torch.device("cpu"), lambda line: None)


def _contrast(trainer: Trainer) -> Contrast:
    assert trainer.objective.contrast is not None
    return trainer.objective.contrast


def _batch(trainer: Trainer, number: int = 0) -> Batch:
    source = replace(trainer.source, size=16)
    return trainer.objective.prepared(BatchMaker(source).training_batch(number))


def _logits(trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
    with torch.no_grad():
        return trainer.objective.whole_logits(trainer.network, trainer.network.encode(batch.inputs), (TARGET,))


def test_a_batch_says_whose_samples_it_is_made_of(trainer: Trainer) -> None:
    bank = trainer.objective.bank
    assert bank is not None
    for number in range(3):
        batch = _batch(trainer, number)
        assert batch.number == 16 * number
        assert set(batch.own) <= {"rgb", "states"}
        shown = (~batch.inputs["rgb"].mask).any(dim=1)
        torch.testing.assert_close(batch.own["rgb"].norm(dim=1), shown.float())
        whole, found = BatchMaker(trainer.source).whole_batch(range(6), ["rgb"], [TARGET])
        assert len(found) == 6
        torch.testing.assert_close(whole.vectors[TARGET], bank.vectors[TARGET][whole.rows].float(), atol=1e-3, rtol=0)


def test_what_is_asked_is_a_function_of_the_batch(trainer: Trainer) -> None:
    contrast, bank, batch = _contrast(trainer), trainer.objective.bank, _batch(trainer)
    assert bank is not None
    one, again = contrast.ask(batch, bank, ALONE), contrast.ask(batch, bank, ALONE)
    assert torch.equal(one.rows, again.rows)
    assert torch.equal(one.negatives, again.negatives)
    assert len(set(one.negatives.tolist())) == 16
    other = contrast.ask(_batch(trainer, 1), bank, ALONE)
    assert not torch.equal(one.negatives, other.negatives)


def test_a_picture_as_it_is_is_asked_for_another_vendors(trainer: Trainer) -> None:
    contrast, bank, batch = _contrast(trainer), trainer.objective.bank, _batch(trainer)
    assert bank is not None
    exact = bank.vectors[TARGET][batch.rows].float()
    asked = contrast.ask(replace(batch, own={"rgb": exact}), bank, ALONE)
    for row, found in zip(batch.rows.tolist(), asked.rows.tolist(), strict=True):
        assert found in bank.others(row)
    contrast.config = contrast.config.model_copy(update={"other_share": 0.0})
    assert torch.equal(contrast.ask(replace(batch, own={"rgb": -exact}), bank, ALONE).rows, batch.rows)
    contrast.config = contrast.config.model_copy(update={"other_share": 1.0})
    asked = contrast.ask(replace(batch, own={}), bank, ALONE)
    assert all(found in bank.others(row) for row, found in zip(batch.rows.tolist(), asked.rows.tolist(), strict=True))


def test_the_vector_is_the_decoded_prediction_plus_the_shortcuts(trainer: Trainer) -> None:
    contrast, batch = _contrast(trainer), _batch(trainer)
    logits = _logits(trainer, batch)
    found = contrast.vectors(logits, batch.own)[TARGET]
    decoded = trainer.objective.tokenizers[TARGET].decode_probabilities(logits[TARGET].softmax(dim=2))
    added = contrast.shortcuts(batch.own, TARGET)
    torch.testing.assert_close(found, F.normalize(decoded, dim=1) + added)
    assert added.any()
    torch.testing.assert_close(contrast.vectors(logits, {})[TARGET], F.normalize(decoded, dim=1))


def _loss_of(trainer: Trainer, batch: Batch, vectors: Callable[[Tensor], Tensor]) -> float:
    """The contrast of a batch whose final vectors are a function of what it should find."""
    contrast, bank = _contrast(trainer), trainer.objective.bank
    assert bank is not None
    exact = bank.vectors[TARGET][contrast.ask(batch, bank, ALONE).rows].float()
    logits = _logits(trainer, batch)
    given = torch.ones(len(exact), dtype=torch.bool)
    loss = contrast._loss(TARGET, logits[TARGET], vectors(exact), given, contrast.ask(batch, bank, ALONE), bank)
    return float(loss.contrast.detach())


def test_vectors_that_find_their_own_cost_less(trainer: Trainer) -> None:
    batch = _batch(trainer)
    right = _loss_of(trainer, batch, lambda exact: exact)
    turned = _loss_of(trainer, batch, lambda exact: exact.roll(1, dims=0))
    assert right < 1.0 < turned


def test_samples_of_the_same_concept_are_no_wrong_answers(trainer: Trainer) -> None:
    contrast, bank, batch = _contrast(trainer), trainer.objective.bank, _batch(trainer)
    assert bank is not None
    alone = replace(bank, groups=bank.groups * 0)  # all of one concept: nothing is left to be wrong
    logits = _logits(trainer, batch)
    assert contrast.losses(logits, batch, alone, ALONE)[TARGET].contrast.item() == pytest.approx(0.0, abs=1e-5)
    assert contrast.losses(logits, batch, bank, ALONE)[TARGET].contrast.item() > 0.5


def test_samples_that_show_nothing_or_lack_the_target_take_no_part(trainer: Trainer) -> None:
    contrast, bank, batch = _contrast(trainer), trainer.objective.bank, _batch(trainer)
    assert bank is not None
    contrast.config = contrast.config.model_copy(update={"other_share": 0.0})
    batch = replace(batch, own={})
    logits = _logits(trainer, batch)
    vectors = bank.vectors[TARGET].clone()
    vectors[batch.rows[:5]] = 0
    lacking = replace(bank, vectors={TARGET: vectors})
    assert contrast.losses(logits, batch, lacking, ALONE)[TARGET].samples == 16 - sum(
        int(row in batch.rows[:5]) for row in batch.rows
    )
    blind = {key: replace(one, mask=torch.ones_like(one.mask)) for key, one in batch.inputs.items()}
    nothing = contrast.losses(logits, replace(batch, inputs=blind), bank, ALONE)[TARGET]
    assert nothing.samples == 0
    assert nothing.contrast.item() == 0


def test_the_whole_loss_adds_codes_by_their_weight_and_contrast(trainer: Trainer) -> None:
    objective: Objective = trainer.objective
    with torch.no_grad():
        parts = objective.losses(trainer.network, _batch(trainer))
    assert set(parts.values) == set(objective.columns)
    assert f"contrast/{TARGET}" in objective.columns
    texts = [float(parts.values[f"loss/{key}"]) for key in ("caption", "color_palette", "tok_rgb")]
    expected = sum(texts) / 3 + 0.25 * float(parts.values[f"loss/{TARGET}"]) + float(parts.values[f"contrast/{TARGET}"])
    assert float(objective.total(parts)) == pytest.approx(expected, rel=1e-5)


def test_shortcuts_are_trained_and_their_means_and_the_tokenizers_are_not(trainer: Trainer) -> None:
    objective = trainer.objective
    objective.total(objective.losses(trainer.network, _batch(trainer))).backward()  # type: ignore[no-untyped-call]
    names = {name for name in trainer.state.parameters if name.startswith("contrast.")}
    maps = {"rgb": ("down", "up", "gain", "share"), "states": ("down", "up", "gain")}
    assert names == {"contrast.scale.shape_global"} | {
        f"contrast.shortcuts.maps.{key}_to_shape_global.{own}" for key, all_own in maps.items() for own in all_own
    }
    assert all(trainer.state.parameters[name].grad.any() for name in names)  # type: ignore[union-attr]
    assert not any(parameter.requires_grad for parameter in objective.tokenizers[TARGET].parameters())
