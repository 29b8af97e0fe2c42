"""The tokenizer of global vectors: names of MLPs, memcodes, the whole."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.vqvae import VQVAE, MemcodesQuantizer, parse_mlp


def test_expansion_is_four_where_it_is_not_given() -> None:
    assert parse_mlp("BottleneckMLP/B_6-Wi_1024") == (6, 1024, 4)
    assert parse_mlp("BottleneckMLP/B_2-Wi_32-E_2") == (2, 32, 2)


@pytest.mark.parametrize("name", ["vit_b_enc", "BottleneckMLP", "BottleneckMLP/B_x-Wi_8", "BottleneckMLP/B_1-Wi_8-E"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="BottleneckMLP/B_6-Wi_1024-E_4"):
        parse_mlp(name)


@pytest.fixture
def quantizer() -> MemcodesQuantizer:
    made = MemcodesQuantizer(latent_dim=12, heads=3, codebook_size=7)
    made.initialise(torch.Generator().manual_seed(0))
    return made.eval()


def test_cached_values_change_nothing_and_end_with_training(quantizer: MemcodesQuantizer) -> None:
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
    assert latents.grad.isfinite().all()
    assert latents.grad.any()
    assert quantizer.codes.grad is not None


MLP = "BottleneckMLP/B_1-Wi_16-E_2"
CONFIG = TokenizerConfig(6, MLP, MLP, "memcodes", codebook_size=8, num_codebooks=4, latent_dim=16)


@pytest.fixture
def tokenizer() -> VQVAE:
    made = VQVAE(CONFIG)
    made.initialise(seed=0)
    return made.eval()


def test_certain_probabilities_decode_like_their_tokens(tokenizer: VQVAE) -> None:
    tokens = torch.tensor([[0, 7, 3, 1], [5, 5, 2, 6]])
    soft = tokenizer.decode_probabilities(F.one_hot(tokens, 8).float())
    torch.testing.assert_close(soft, tokenizer.decode_tokens(tokens))


def test_initialisation_follows_its_seed() -> None:
    first, second = VQVAE(CONFIG), VQVAE(CONFIG)
    first.initialise(seed=5)
    second.initialise(seed=5)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"quant_type": "lucid"}, "memcodes"),
        ({"latent_dim": 18}, "num_codebooks 4"),
        ({"enc_type": "vit_b_enc"}, "not an MLP"),
    ],
)
def test_what_it_cannot_be_is_explained(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigInvalid, match=complaint):
        VQVAE(replace(CONFIG, **changes))
