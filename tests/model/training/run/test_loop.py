import pytest
import torch
from torch import nn

from anyseek.model.training.run.memory import _messages, average_gradients, total_norm, zero_gradients
from anyseek.model.training.run.processes import ALONE


def _parameters() -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    return parameters


def test_the_norm_is_that_of_all_gradients_which_are_clipped_together() -> None:
    parameters = _parameters()
    assert total_norm(parameters, None).item() == pytest.approx(5.0)
    assert parameters[0].grad is not None
    assert parameters[0].grad[0] == 3.0
    assert total_norm(parameters, 2.5).item() == pytest.approx(5.0)
    assert parameters[0].grad[0].item() == pytest.approx(1.5, rel=1e-5)


def test_alone_the_mean_is_ones_own() -> None:
    parameters = _parameters()
    average_gradients(parameters, ALONE)
    assert parameters[0].grad is not None
    assert parameters[0].grad[0] == 3.0


def test_gradients_become_zero_where_they_are() -> None:
    parameters = _parameters()
    before = parameters[0].grad
    zero_gradients(parameters)
    assert parameters[0].grad is before
    assert before is not None
    assert not before.any()
    assert parameters[2].grad is None


def test_messages_hold_neighbours_of_one_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyseek.model.training.run.memory._MESSAGE", 5)
    sizes = (2, 3, 1, 9, 1, 1)
    gradients = [torch.zeros(size) for size in sizes]
    gradients[5] = gradients[5].double()
    assert [[len(one) for one in group] for group in _messages(gradients)] == [[2, 3], [1], [9], [1], [1]]
