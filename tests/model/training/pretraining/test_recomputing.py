"""Blocks that keep nothing but their inputs: the same gradients, and less memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anyseek.model.network.transformer import FourM
from anyseek.model.training.pretraining.batches import BatchMaker
from anyseek.model.training.pretraining.objective import Objective
from anyseek.model.training.run.loop import Trainer
from tests.model.training.runs import Written, prepared


def _kept_for_gradients(trainer: Trainer[FourM, Objective]) -> int:
    """Bytes of all tensors that wait for the backward pass of one batch, which is then done."""
    stores: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        stores[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = trainer.objective.prepare(BatchMaker(trainer.source).training_batch(0))
    parameters = {p.untyped_storage().data_ptr() for p in trainer.state.parameters.values()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = trainer.objective.total(trainer.objective.losses(trainer.network, batch))
    loss.backward()
    return sum(size for place, size in stores.items() if place not in parameters)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradients_are_the_same_and_less_is_kept(
    config: dict[str, Any], written: Written, tmp_path: Path, precision: str
) -> None:
    config["precision"] = precision
    config["network"] |= {"encoder_depth": 4, "decoder_depth": 4}
    plain = prepared(written(config), tmp_path / "plain")
    config["run"]["activation_checkpointing"] = True
    again = prepared(written(config), tmp_path / "again")
    assert _kept_for_gradients(again) < 0.6 * _kept_for_gradients(plain)
    assert again.state.parameters.keys() == plain.state.parameters.keys()
    for name, parameter in plain.state.parameters.items():
        found = again.state.parameters[name].grad
        torch.testing.assert_close(found, parameter.grad, rtol=0, atol=0, msg=name)
