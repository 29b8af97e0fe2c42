"""Losses by hand, and what a pass of each family makes."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from anyseek.model.tokenizers.build import initialise_image_tokenizer
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.divae import DiVAE
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.tokenizing.config import CodesConfig
from anyseek.model.training.tokenizing.objective import CodeCounts, binary_loss, cosine_loss, reconstruct, run_pass
from tests.model.training.tokenizing.scenes import DIFFUSION, VECTOR

_CODES = CodesConfig(decay=0.99, dead_share=1 / 32, temperature=1.0)


def test_the_binary_loss_is_the_published_one() -> None:
    logits, masks = torch.tensor([[[[2.0, -1.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
    both = torch.cat((logits.sigmoid(), 1 - logits.sigmoid()), dim=1)  # the first channel is inside
    expected = F.cross_entropy(both, 1 - masks[:, 0].long())
    torch.testing.assert_close(binary_loss(logits, masks), expected)
    assert binary_loss(torch.tensor(50.0), torch.tensor(1.0)).item() < 0.314
    assert binary_loss(torch.tensor(50.0), torch.tensor(0.0)).item() > 1.313


def test_the_cosine_is_over_channels() -> None:
    one, other = torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert cosine_loss(one, other).item() == torch.tensor((0 + 1 - math.cos(math.pi / 4)) / 2).float().item()


@pytest.mark.parametrize("kind", ["sample", "v_prediction"])
def test_a_diffusion_is_asked_for_the_clean_image_or_the_velocity(kind: str) -> None:
    network = DiVAE(TokenizerConfig.from_values(DIFFUSION | {"prediction_type": kind}))
    initialise_image_tokenizer(network, 0)
    seen: list[tuple[torch.Tensor, ...]] = []
    network.decoder.register_forward_hook(lambda module, given, made: seen.append(given))
    images = torch.rand(16, 3, 32, 32) * 2 - 1
    wanted = run_pass(network, images, _CODES, torch.Generator().manual_seed(1)).target
    noisy, timesteps, _ = seen[0]
    assert len(timesteps.unique()) > 10
    if kind == "sample":
        assert torch.equal(wanted, images)
        return
    kept = torch.tensor(network.diffusion.alphas_cumprod)[timesteps][:, None, None, None]
    clean = kept.sqrt() * noisy - (1 - kept).sqrt() * wanted  # Salimans and Ho, arXiv 2202.00512, appendix D
    torch.testing.assert_close(clean, images, rtol=1e-4, atol=1e-4)


def test_codes_learn_in_training_mode_only() -> None:
    network = DiVAE(TokenizerConfig.from_values(DIFFUSION))
    initialise_image_tokenizer(network, 0)
    images, draws = torch.rand(4, 3, 32, 32) * 2 - 1, torch.Generator().manual_seed(1)
    done = run_pass(network, images, _CODES, draws)
    assert done.replaced > 0
    assert network.quantize._codebook.initted.item() == 1
    kept = network.quantize._codebook.embed.clone()
    first, again = (
        run_pass(network.eval(), images, _CODES, torch.Generator().manual_seed(1)).predicted for _ in range(2)
    )
    assert torch.equal(first, again)
    assert torch.equal(network.quantize._codebook.embed, kept)
    ids = network.encode(images)
    assert reconstruct(network, ids, (32, 32), 2).shape == images.shape


def test_codes_of_vectors_are_drawn_in_training_and_the_best_after_it() -> None:
    network = VQVAE(TokenizerConfig.from_values(VECTOR))
    network.initialise(0)
    vectors = torch.randn(64, 6)
    drawn = [run_pass(network, vectors, _CODES, torch.Generator().manual_seed(seed)).ids for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    done = run_pass(network.eval(), vectors, _CODES, torch.Generator().manual_seed(1))
    assert torch.equal(done.ids, network.encode(vectors))
    assert done.commitment is None


@pytest.mark.parametrize(
    ("heads", "ids", "used", "perplexity"),
    [
        (1, [[[0, 0], [1, 1]]], 0.5, 2.0),
        (1, [[[0, 0], [1, 1]], [[0, 0], [0, 0]]], 0.5, math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))),
        (2, [[0, 0], [0, 1], [0, 2], [0, 3]], (0.25 + 1.0) / 2, (1 + 4) / 2),
    ],
)
def test_use_of_codes_is_the_mean_of_all_codebooks(heads: int, ids: list[Any], used: float, perplexity: float) -> None:
    counts = CodeCounts(heads, 4)
    assert counts.used() == 0.0
    for part in ids:
        counts.add(torch.tensor([part]))
    assert counts.used() == used
    assert counts.perplexity() == pytest.approx(perplexity)
