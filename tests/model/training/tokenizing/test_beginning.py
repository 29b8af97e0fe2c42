"""What a tokenizer is before its first step; beginning with another one's tensors is in test_train.py."""

import torch

from model.tokenizers.config import TokenizerConfig
from model.tokenizers.vqvae import VQVAE
from model.training.tokenizing.beginning import spread_latents
from model.training.tokenizing.usage import CodeCounts
from tests.model.training.tokenizing.scenes import VECTOR


def test_vectors_that_are_much_alike_get_different_codes() -> None:
    network = VQVAE(TokenizerConfig.from_values(VECTOR))
    network.initialise(0)
    draws = torch.Generator().manual_seed(0)
    vectors = torch.full((1, 6), 5.0) + 0.1 * torch.randn(200, 6, generator=draws)
    perplexities = []
    for _ in range(2):
        counts = CodeCounts(4, 8)
        counts.add(network.encode(vectors))
        perplexities.append(counts.perplexity())
        spread_latents(network, vectors)
    assert perplexities[0] < 2
    assert perplexities[1] > 4
    latents = network.latents(vectors)
    torch.testing.assert_close(latents.mean(dim=0), torch.zeros(16), rtol=0, atol=1e-3)
