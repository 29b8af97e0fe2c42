"""The tokenizer of global vectors."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.vqvae import VQVAE

MLP = "BottleneckMLP/B_1-Wi_16-E_2"
CONFIG = TokenizerConfig(6, MLP, MLP, "memcodes", codebook_size=8, num_codebooks=4, latent_dim=16)


@pytest.fixture
def tokenizer() -> VQVAE:
    made = VQVAE(CONFIG)
    made.initialise(seed=0)
    return made.eval()


def test_tokens_and_vectors_have_their_shapes(tokenizer: VQVAE) -> None:
    tokens = tokenizer.encode(torch.randn(3, 6))
    assert tokens.shape == (3, 4)
    assert tokens.dtype == torch.int64
    assert tokenizer.decode_tokens(tokens).shape == (3, 6)


def test_certain_probabilities_decode_like_their_tokens(tokenizer: VQVAE) -> None:
    tokens = torch.tensor([[0, 7, 3, 1], [5, 5, 2, 6]])
    soft = tokenizer.decode_probabilities(F.one_hot(tokens, 8).float())
    torch.testing.assert_close(soft, tokenizer.decode_tokens(tokens))


def test_training_learns_to_autoencode(tokenizer: VQVAE) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(32, 6, generator=generator)
    optimiser = torch.optim.AdamW(tokenizer.train().parameters(), lr=3e-3)
    for _ in range(150):
        decoded, _ = tokenizer(vectors, 1.0, generator)
        loss = 1 - F.cosine_similarity(decoded, vectors).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    tokenizer.eval()
    after = F.cosine_similarity(tokenizer.decode_tokens(tokenizer.encode(vectors)), vectors).mean()
    assert after > 0.8


def test_initialisation_follows_its_seed() -> None:
    first, second = VQVAE(CONFIG), VQVAE(CONFIG)
    first.initialise(seed=5)
    second.initialise(seed=5)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_config_round_trip_ignores_other_keys() -> None:
    assert TokenizerConfig.from_metadata(CONFIG.to_metadata() | {"norm_codes": "True"}) == CONFIG


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
