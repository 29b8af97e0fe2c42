"""One batch through a tokenizer: what it makes of its inputs, and what that should have been.

In training mode the codes learn from the batch as well. B batch, L latent width, h x w tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.tokenizers.build import Tokenizer
from model.tokenizers.codebook import CodebookRule
from model.tokenizers.divae import DiVAE
from model.tokenizers.image_vqvae import ImageVQVAE
from model.tokenizers.lucid import Quantised
from model.tokenizers.samplers import Prediction, Sampling, seeded_noise
from model.tokenizers.vqvae import VQVAE
from model.training.tokenizing.config import CodesConfig

_NOISE_SEED = 0


@dataclass(frozen=True)
class Pass:
    """`predicted` should be `wanted`; `ids` int64 (B, h, w) or (B, heads) are the tokens of the inputs.

    `commitment` is None for codes that learn by gradients; `replaced` dead codes began anew.
    """

    predicted: Tensor
    wanted: Tensor
    ids: Tensor
    commitment: Tensor | None = None
    replaced: int = 0


def run_pass(network: Tokenizer, values: Tensor, codes: CodesConfig, draws: torch.Generator) -> Pass:
    """Inputs (B, ...) through the network in its mode; `draws` gives all noise."""
    if isinstance(network, VQVAE):
        return _vectors(network, values, codes, draws)
    latents = network.latents(values)
    with torch.autocast(latents.device.type, enabled=False):
        quantised, replaced = _quantised(network, latents.float(), codes, draws)
    if isinstance(network, DiVAE):
        predicted, wanted = _denoised(network, values, quantised.values, draws)
    else:
        predicted, wanted = network.decode_latents(quantised.values), values
    return Pass(_same_type(predicted, wanted), wanted, quantised.ids, quantised.commitment, replaced)


def _vectors(network: VQVAE, values: Tensor, codes: CodesConfig, draws: torch.Generator) -> Pass:
    """Codes are drawn in training mode, else the best are taken."""
    if network.training:
        predicted, ids = network(values, codes.temperature, draws)
    else:
        ids = network.encode(values)
        predicted = network.decode_tokens(ids)
    return Pass(_same_type(predicted, values), values, ids)


def _quantised(
    network: ImageVQVAE | DiVAE, latents: Tensor, codes: CodesConfig, draws: torch.Generator
) -> tuple[Quantised, int]:
    """Latents float32 (B, L, h, w) as codes, and how many of these were replaced."""
    if not network.training:
        return network.quantize.quantise(latents), 0
    network.quantize.begin(latents, draws)
    quantised = network.quantize.quantise(latents)
    rule = CodebookRule(codes.decay, codes.dead_share)
    return quantised, network.quantize.learn(latents, quantised.ids, rule, draws)


def _denoised(network: DiVAE, images: Tensor, codes: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """What the decoder makes of images at timesteps drawn evenly, and what it should make of them."""
    diffusion = network.diffusion
    total = len(diffusion.alphas_cumprod)
    timesteps = torch.randint(total, (len(images),), generator=draws)
    kept = torch.tensor(diffusion.alphas_cumprod)[timesteps].to(images)[:, None, None, None]
    noise = torch.randn(images.shape, generator=draws).to(images)
    noisy = kept.sqrt() * images + (1 - kept).sqrt() * noise
    predicted: Tensor = network.decoder(noisy, timesteps.to(images.device), codes)
    if diffusion.prediction is Prediction.SAMPLE:
        return predicted, images
    return predicted, kept.sqrt() * noise - (1 - kept).sqrt() * images


def _same_type(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Losses are counted in float32; labels have no such type, their logits have."""
    return predicted.to(wanted.dtype) if wanted.is_floating_point() else predicted.float()


def reconstruct(network: Tokenizer, ids: Tensor, size: tuple[int, int], steps: int) -> Tensor:
    """What tokens stand for, by the ordinary decoder: pictures of `size` (H, W); diffusions take `steps` steps."""
    if not isinstance(network, DiVAE):
        return network.decode_tokens(ids)
    sampling = Sampling(network.default_sampling.scheduler, steps)
    return network.decode_tokens(ids, seeded_noise(_NOISE_SEED), sampling, size)
