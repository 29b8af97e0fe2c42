from pathlib import Path

import pytest
import torch
from torch import nn

from anyseek.model.checkpoints.files import read_metadata
from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt
from anyseek.model.fourm.bundled.shortcuts import Shortcuts
from anyseek.model.network.layers import LayerNorm
from anyseek.model.training.pretraining.config import OptimiserConfig
from anyseek.model.training.run.state import Averages, TrainingState, build_optimiser, checkpoints

OPTIMISER = OptimiserConfig(base_rate=0.01)


class _Small(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, width)
        self.norm = LayerNorm(width, learned_bias=True)
        self.linear = nn.Linear(width, 2)


def _network(width: int = 3) -> _Small:
    torch.manual_seed(0)
    return _Small(width)


def _step(state: TrainingState, network: _Small, value: float) -> None:
    state.optimiser.zero_grad(set_to_none=False)
    loss = (network.linear(network.norm(network.embedding.weight)) * value).square().sum()
    loss.backward()
    state.optimiser.step()
    state.averages.update(state.parameters, state.counters.step)
    state.counters.step += 1
    state.counters.tokens += 10


def test_all_but_norms_and_biases_decay() -> None:
    network = _network()
    optimiser = build_optimiser(network, OPTIMISER)
    decayed = {id(p) for p in optimiser.param_groups[0]["params"]}
    assert decayed == {id(network.embedding.weight), id(network.linear.weight)}
    assert optimiser.param_groups[0]["weight_decay"] == 0.05
    assert optimiser.param_groups[1]["weight_decay"] == 0.0
    assert len(optimiser.param_groups[1]["params"]) == 3


def test_maps_of_shortcuts_are_adjusted_slowly_and_do_not_decay() -> None:
    network = nn.ModuleDict({"small": _network(), "shortcuts": Shortcuts({"x": 6}, {"y": 5}, {"y": 2})})
    groups = build_optimiser(network, OPTIMISER).param_groups
    found = {id(p): (group["rate_share"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == len(list(network.parameters()))
    shortcut = network["shortcuts"].shortcut("x", "y")
    assert (found[id(shortcut.down)], found[id(shortcut.up)], found[id(shortcut.gain)]) == ((0.1, 0), (0.1, 0), (1, 0))
    assert found[id(network["small"].linear.weight)] == (1, 0.05)


def test_averages_follow_fast_at_first_and_slowly_later() -> None:
    parameters = {"p": nn.Parameter(torch.zeros(1))}
    averages = Averages(parameters, 0.9)
    parameters["p"].data.fill_(1.0)
    averages.update(parameters, 0)
    assert averages.values["p"].item() == pytest.approx(0.9)
    averages.values["p"].zero_()
    averages.update(parameters, 1000)
    assert averages.values["p"].item() == pytest.approx(0.1)
    with averages.applied(parameters):
        assert parameters["p"].item() == pytest.approx(0.1)
    assert parameters["p"].item() == 1.0


def test_a_checkpoint_brings_back_everything(tmp_path: Path) -> None:
    network = _network()
    state = TrainingState.fresh(network, OPTIMISER, 0.9)
    _step(state, network, 1.0)
    path = state.save(tmp_path, {"seed": "3"}, 2)
    assert read_metadata(path) == {"seed": "3", "step": "1", "tokens": "10", "seconds": "0.0"}
    _step(state, network, 2.0)
    other = _network()
    resumed = TrainingState.fresh(other, OPTIMISER, 0.9)
    resumed.load(path)
    assert resumed.counters.step == 1
    _step(resumed, other, 2.0)
    for name, parameter in state.parameters.items():
        torch.testing.assert_close(resumed.parameters[name], parameter, rtol=0, atol=0)
        torch.testing.assert_close(resumed.averages.values[name], state.averages.values[name], rtol=0, atol=0)


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    network = _network()
    state = TrainingState.fresh(network, OPTIMISER, 0.9)
    for _ in range(4):
        _step(state, network, 1.0)
        state.save(tmp_path, {}, 2)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000003.safetensors", "step-000000004.safetensors"]
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    network = _network()
    state = TrainingState.fresh(network, OPTIMISER, 0.9)
    _step(state, network, 1.0)
    path = state.save(tmp_path, {}, 1)

    class Larger(_Small):
        def __init__(self) -> None:
            super().__init__()
            self.more = nn.Linear(2, 2)

    with pytest.raises(CheckpointMismatch, match="more"):
        TrainingState.fresh(Larger(), OPTIMISER, 0.9).load(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsCorrupt, match="not a complete checkpoint"):
        state.load(path)


def test_parameters_that_a_step_did_not_use_decay_all_the_same() -> None:
    network = _network()
    unused = nn.Linear(2, 2)
    both = nn.ModuleDict({"used": network, "unused": unused})
    state = TrainingState.fresh(both, OPTIMISER, 0.9)
    before = unused.weight.detach().clone()
    _step(state, network, 1.0)
    torch.testing.assert_close(unused.weight, before * (1 - 0.01 * 0.05))
