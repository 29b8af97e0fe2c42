"""Memcodes: search, lookup, soft lookup, training draws."""

import pytest
import torch

from anyseek.model.tokenizers.vqvae import MemcodesQuantizer


@pytest.fixture
def quantizer() -> MemcodesQuantizer:
    made = MemcodesQuantizer(latent_dim=12, heads=3, codebook_size=7)
    made.initialise(torch.Generator().manual_seed(0))
    return made.eval()


def test_assign_equals_the_formula_head_by_head(quantizer: MemcodesQuantizer) -> None:
    latents = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    ids = quantizer.assign(latents)
    for head in range(3):
        keys = quantizer.codes[head] @ quantizer.to_k.weight[head]
        best = (latents[:, 4 * head : 4 * head + 4] @ keys.T).argmax(dim=1)
        assert torch.equal(ids[:, head], best)


def test_lookup_projects_each_code_of_its_own_head(quantizer: MemcodesQuantizer) -> None:
    vector = quantizer.lookup(torch.tensor([[6, 0, 3]]))[0]
    parts = [quantizer.codes[head][code] @ quantizer.to_v.weight[head] for head, code in enumerate((6, 0, 3))]
    torch.testing.assert_close(vector, torch.cat(parts))


def test_certain_probabilities_give_the_hard_lookup(quantizer: MemcodesQuantizer) -> None:
    ids = torch.tensor([[6, 0, 3], [1, 2, 5]])
    certain = torch.nn.functional.one_hot(ids, 7).float()
    torch.testing.assert_close(quantizer.expected_values(certain), quantizer.lookup(ids))


def test_even_probabilities_give_the_mean_of_each_codebook(quantizer: MemcodesQuantizer) -> None:
    even = torch.full((1, 3, 7), 1 / 7)
    torch.testing.assert_close(quantizer.expected_values(even)[0], quantizer.values().mean(dim=1).flatten())


def test_kept_values_change_nothing_and_end_with_training(quantizer: MemcodesQuantizer) -> None:
    ids = torch.tensor([[6, 0, 3]])
    expected = quantizer.lookup(ids)
    quantizer.cache_values()
    torch.testing.assert_close(quantizer.lookup(ids), expected)
    assert "value_table" not in quantizer.state_dict()
    quantizer.train()
    quantizer.codes.data.add_(1.0)
    assert not torch.allclose(quantizer.lookup(ids), expected)


def test_draws_follow_the_generator_and_the_scores(quantizer: MemcodesQuantizer) -> None:
    latents = 1000 * torch.randn(4, 12, generator=torch.Generator().manual_seed(1))
    values, ids = quantizer.sample(latents, 1.0, torch.Generator().manual_seed(2))
    again, _ = quantizer.sample(latents, 1.0, torch.Generator().manual_seed(2))
    assert torch.equal(values, again)
    assert torch.equal(ids, quantizer.assign(latents))  # such scores leave no doubt
    torch.testing.assert_close(values, quantizer.lookup(ids))


def test_draws_vary_where_codes_fit_alike(quantizer: MemcodesQuantizer) -> None:
    _, ids = quantizer.sample(torch.zeros(200, 12), 1.0, torch.Generator().manual_seed(2))
    assert all(len(ids[:, head].unique()) == 7 for head in range(3))


def test_gradients_pass_straight_through(quantizer: MemcodesQuantizer) -> None:
    latents = torch.randn(4, 12, requires_grad=True)
    values, _ = quantizer.train().sample(latents, 1.0, torch.Generator().manual_seed(2))
    values.square().sum().backward()
    assert latents.grad is not None
    assert latents.grad.isfinite().all()
    assert latents.grad.any()
    assert quantizer.codes.grad is not None
