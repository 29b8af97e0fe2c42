"""The forward pass of a tokenizer on one batch: reconstructions, losses, and code usage.

In training mode, the codes also learn from the batch. B batch size, L latent width, h x w tokens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.tokenizers.build import Tokenizer
from anyseek.model.tokenizers.diffusion import Prediction, Sampling, seeded_noise
from anyseek.model.tokenizers.divae import DiVAE
from anyseek.model.tokenizers.lucid import CodebookRule
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.training.run.config import Precision
from anyseek.model.training.run.loop import Parts
from anyseek.model.training.tokenizing.batches import InputBatch
from anyseek.model.training.tokenizing.config import CodesConfig, Reconstruction, TokenizerTraining


class CodeCounts:
    """The usage counts of codes, for `heads` codebooks of `size` codes."""

    def __init__(self, heads: int, size: int) -> None:
        self._counts = torch.zeros(heads, size, dtype=torch.int64)

    def add(self, ids: Tensor) -> None:
        """Count tokens int (B, h, w) of one codebook, or (B, heads)."""
        heads, size = self._counts.shape
        columns = ids.reshape(-1, heads).cpu()
        for head in range(heads):
            self._counts[head] += columns[:, head].bincount(minlength=size)

    def used(self) -> float:
        """The share of codes that were used at least once."""
        return float((self._counts > 0).double().mean())

    def perplexity(self) -> float:
        """The perplexity of the codes, exp of their entropy, as the mean over codebooks."""
        shares = self._counts / self._counts.sum(dim=1, keepdim=True).clamp_min(1)
        return float(torch.special.entr(shares.double()).sum(dim=1).exp().mean())


_NOISE_SEED = 0


@dataclass(frozen=True)
class ForwardPass:
    """The result of a forward pass: `predicted` approximates `target`; `ids` int64 (B, h, w) or (B, heads) are tokens.

    `commitment` is None for codes that learn by gradients; `replaced` is the number of dead codes that were reset.
    """

    predicted: Tensor
    target: Tensor
    ids: Tensor
    commitment: Tensor | None = None
    replaced: int = 0


def run_pass(network: Tokenizer, values: Tensor, codes: CodesConfig, generator: torch.Generator) -> ForwardPass:
    """The forward pass of inputs (B, ...) in the network's mode; `generator` draws all noise."""
    if isinstance(network, VQVAE):
        if network.training and not codes.fitted:  # codes that learn are sampled; else the best are used
            predicted, ids = network(values, codes.temperature, generator)
        else:
            ids = network.encode(values)
            predicted = network.decode_tokens(ids)
        return ForwardPass(_same_type(predicted, values), values, ids)
    latents, replaced = network.latents(values), 0
    with torch.autocast(latents.device.type, enabled=False):
        latents = latents.float()
        if network.training:
            network.quantize.place_codes(latents, generator)
        quantised = network.quantize.quantise(latents)
        if network.training:
            rule = CodebookRule(codes.decay, codes.dead_share)
            replaced = network.quantize.update_codes(latents, quantised.ids, rule, generator)
    if isinstance(network, DiVAE):
        predicted, target = _denoised(network, values, quantised.values, generator)
    else:
        predicted, target = network.decode_latents(quantised.values), values
    return ForwardPass(_same_type(predicted, target), target, quantised.ids, quantised.commitment, replaced)


def _denoised(network: DiVAE, images: Tensor, codes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The decoder's prediction for noisy images at uniformly drawn timesteps, and its target."""
    diffusion = network.diffusion
    total = len(diffusion.alphas_cumprod)
    timesteps = torch.randint(total, (len(images),), generator=generator)
    signal = torch.tensor(diffusion.alphas_cumprod)[timesteps].to(images)[:, None, None, None]
    noise = torch.randn(images.shape, generator=generator).to(images)
    noisy = signal.sqrt() * images + (1 - signal).sqrt() * noise
    predicted: Tensor = network.decoder(noisy, timesteps.to(images.device), codes)
    if diffusion.prediction is Prediction.SAMPLE:
        return predicted, images
    return predicted, signal.sqrt() * noise - (1 - signal).sqrt() * images


def _same_type(predicted: Tensor, target: Tensor) -> Tensor:
    """The prediction in the target's dtype; the logits of integer labels in float32."""
    return predicted.to(target.dtype) if target.is_floating_point() else predicted.float()


def reconstruct(network: Tokenizer, ids: Tensor, size: tuple[int, int], steps: int) -> Tensor:
    """Decode tokens as at inference; a diffusion makes pictures of `size` (H, W) in `steps` steps."""
    if not isinstance(network, DiVAE):
        return network.decode_tokens(ids)
    sampling = Sampling(network.default_sampling.scheduler, steps)
    return network.decode_tokens(ids, seeded_noise(_NOISE_SEED), sampling, size)


_NOISE_DRAWS = 8  # a seed stream; those of batches end at 7
_MAX_SEED = 2**63 - 1


def binary_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of the softmax over (s, 1 - s), s = sigmoid(logit), for masks of 0 and 1, as in 4M-21.

    It is bounded: it approaches 1.31 for a wrong logit, and 0.31 for a right one.
    """
    inside = 1 - 2 * logits.sigmoid()
    return F.softplus(torch.where(masks > 0.5, inside, -inside)).mean()


def cosine_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean of one minus the cosine over axis 1, the channels."""
    return (1 - F.cosine_similarity(predicted, target, dim=1)).mean()


def centred_loss(predicted: Tensor, target: Tensor, mean: Tensor) -> Tensor:
    """`cosine_loss` of unit vectors (B, C) minus `mean` (C,), which is how retrieval compares them."""
    return cosine_loss(F.normalize(predicted, dim=1) - mean, F.normalize(target, dim=1) - mean)


# Of predictions and targets, both float of one shape, or of logits (B, K, H, W) and labels (B, H, W).
LOSSES: Mapping[Reconstruction, Callable[[Tensor, Tensor], Tensor]] = {
    Reconstruction.SMOOTH_L1: F.smooth_l1_loss,
    Reconstruction.MSE: F.mse_loss,
    Reconstruction.CROSS_ENTROPY: F.cross_entropy,
    Reconstruction.BINARY: binary_loss,
    Reconstruction.COSINE: cosine_loss,
    Reconstruction.CENTRED_COSINE: cosine_loss,
}


@dataclass(frozen=True)
class TokenizerObjective:
    """Computes the losses of batches; `mean` float (C,) of the training vectors is for the centred cosine loss."""

    config: TokenizerTraining
    device: torch.device
    mean: Tensor | None = None

    @property
    def columns(self) -> list[str]:
        """The names of all losses and of the statistics of codes."""
        learned = self.config.tokenizer.quant_type == "memcodes"  # by gradients
        averaged = () if learned else ("loss/commitment", "codes/replaced")
        return ["loss/reconstruction", *averaged, "codes/used", "codes/perplexity"]

    def prepare(self, batch: InputBatch) -> InputBatch:
        """The batch, moved to the device."""
        return replace(batch, values=batch.values.to(self.device))

    def forward(self, network: Tokenizer, batch: InputBatch) -> ForwardPass:
        """The forward pass of a prepared batch, with noise seeded by the batch's number."""
        seed = np.random.default_rng([self.config.seed, _NOISE_DRAWS, batch.number]).integers(_MAX_SEED)
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.config.precision is Precision.BFLOAT16
        ):
            return run_pass(network, batch.values, self.config.codes, torch.Generator().manual_seed(int(seed)))

    def losses(self, network: Tokenizer, batch: InputBatch) -> Parts:
        """The losses of a prepared batch, and the statistics of its codes."""
        result = self.forward(network, batch)
        counts = CodeCounts(self.config.tokenizer.num_codebooks, self.config.tokenizer.codebook_size)
        counts.add(result.ids)
        statistics = {"codes/used": counts.used(), "codes/perplexity": counts.perplexity()}
        if result.commitment is not None:
            statistics["codes/replaced"] = float(result.replaced)
        values = self.parts(result) | {
            name: torch.tensor(value, device=self.device) for name, value in statistics.items()
        }
        return Parts(values, dict.fromkeys(values, batch.samples))

    def parts(self, result: ForwardPass) -> dict[str, Tensor]:
        """The losses of a forward pass."""
        reconstruction = LOSSES[self.config.loss.reconstruction](result.predicted, result.target)
        if self.mean is not None:
            reconstruction = reconstruction + centred_loss(result.predicted, result.target, self.mean)
        parts = {"loss/reconstruction": reconstruction}
        return parts if result.commitment is None else parts | {"loss/commitment": result.commitment}

    def total(self, parts: Parts) -> Tensor:
        """The reconstruction loss plus the weighted commitment loss."""
        total = parts.values["loss/reconstruction"]
        commitment = parts.values.get("loss/commitment")
        return total if commitment is None else total + self.config.loss.commitment * commitment
