"""Run one batch through a tokenizer: its reconstructions, their losses, and the codes it uses.

In training mode, the codes also learn from the batch. B batch, L latent width, h x w tokens.
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
    """How often each code was chosen, for each of `heads` codebooks of `size` codes."""

    def __init__(self, heads: int, size: int) -> None:
        self._counts = torch.zeros(heads, size, dtype=torch.int64)

    def add(self, ids: Tensor) -> None:
        """Tokens int: of one codebook (B, h, w), or (B, heads)."""
        heads, size = self._counts.shape
        columns = ids.reshape(-1, heads).cpu()
        for head in range(heads):
            self._counts[head] += columns[:, head].bincount(minlength=size)

    def used(self) -> float:
        """The share of codes that were chosen at all."""
        return float((self._counts > 0).double().mean())

    def perplexity(self) -> float:
        """exp of the entropy of the choice, the mean over codebooks: how many codes alike would be as uncertain."""
        shares = self._counts / self._counts.sum(dim=1, keepdim=True).clamp_min(1)
        return float(torch.special.entr(shares.double()).sum(dim=1).exp().mean())


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
        if network.training and not codes.fitted:  # codes that learn are drawn; else the best are taken
            predicted, ids = network(values, codes.temperature, draws)
        else:
            ids = network.encode(values)
            predicted = network.decode_tokens(ids)
        return Pass(_same_type(predicted, values), values, ids)
    latents, replaced = network.latents(values), 0
    with torch.autocast(latents.device.type, enabled=False):
        latents = latents.float()
        if network.training:
            network.quantize.place_codes(latents, draws)
        quantised = network.quantize.quantise(latents)
        if network.training:
            rule = CodebookRule(codes.decay, codes.dead_share)
            replaced = network.quantize.update_codes(latents, quantised.ids, rule, draws)
    if isinstance(network, DiVAE):
        predicted, wanted = _denoised(network, values, quantised.values, draws)
    else:
        predicted, wanted = network.decode_latents(quantised.values), values
    return Pass(_same_type(predicted, wanted), wanted, quantised.ids, quantised.commitment, replaced)


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
    """Decode tokens with the ordinary decoder: pictures of `size` (H, W); diffusions take `steps` steps."""
    if not isinstance(network, DiVAE):
        return network.decode_tokens(ids)
    sampling = Sampling(network.default_sampling.scheduler, steps)
    return network.decode_tokens(ids, seeded_noise(_NOISE_SEED), sampling, size)


_NOISE_DRAWS = 8  # other numbers than those of batches, which end with 7
_MAX_SEED = 2**63 - 1


def binary_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of the softmax over (s, 1 - s), s = sigmoid(logit), for masks of 0 and 1, as 4M-21 takes it.

    It is bounded: a logit that is entirely wrong costs 1.31, one that is entirely right 0.31.
    """
    inside = 1 - 2 * logits.sigmoid()
    return F.softplus(torch.where(masks > 0.5, inside, -inside)).mean()


def cosine_loss(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Mean of one minus the cosine over axis 1, the channels."""
    return (1 - F.cosine_similarity(predicted, wanted, dim=1)).mean()


def centred_loss(predicted: Tensor, wanted: Tensor, mean: Tensor) -> Tensor:
    """`cosine_loss` of vectors (B, C) of length 1 once the mean (C,) is taken off both, as retrieval compares them."""
    return cosine_loss(F.normalize(predicted, dim=1) - mean, F.normalize(wanted, dim=1) - mean)


# From what is predicted and what is wanted, both float of one shape, or logits (B, K, H, W) and labels (B, H, W).
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
    """Turns batches into losses; subtracts `mean` float (C,) of the training vectors where the loss says so."""

    config: TokenizerTraining
    device: torch.device
    mean: Tensor | None = None

    @property
    def columns(self) -> list[str]:
        """The names of all losses, and of what is said of the codes of a batch."""
        learned = self.config.tokenizer.quant_type == "memcodes"  # by gradients
        averaged = () if learned else ("loss/commitment", "codes/replaced")
        return ["loss/reconstruction", *averaged, "codes/used", "codes/perplexity"]

    def prepare(self, batch: InputBatch) -> InputBatch:
        """The batch on the device."""
        return replace(batch, values=batch.values.to(self.device))

    def passed(self, network: Tokenizer, batch: InputBatch) -> Pass:
        """A prepared batch through the network, the noise being that of the batch's number."""
        mixed = np.random.default_rng([self.config.seed, _NOISE_DRAWS, batch.number]).integers(_MAX_SEED)
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.config.precision is Precision.BFLOAT16
        ):
            return run_pass(network, batch.values, self.config.codes, torch.Generator().manual_seed(int(mixed)))

    def losses(self, network: Tokenizer, batch: InputBatch) -> Parts:
        """The losses of a prepared batch, and what is said of its codes."""
        done = self.passed(network, batch)
        counts = CodeCounts(self.config.tokenizer.num_codebooks, self.config.tokenizer.codebook_size)
        counts.add(done.ids)
        said = {"codes/used": counts.used(), "codes/perplexity": counts.perplexity()}
        if done.commitment is not None:
            said["codes/replaced"] = float(done.replaced)
        values = self.parts(done) | {name: torch.tensor(value, device=self.device) for name, value in said.items()}
        return Parts(values, dict.fromkeys(values, batch.samples))

    def parts(self, done: Pass) -> dict[str, Tensor]:
        """The losses of a pass."""
        reconstruction = LOSSES[self.config.loss.reconstruction](done.predicted, done.wanted)
        if self.mean is not None:
            reconstruction = reconstruction + centred_loss(done.predicted, done.wanted, self.mean)
        parts = {"loss/reconstruction": reconstruction}
        return parts if done.commitment is None else parts | {"loss/commitment": done.commitment}

    def total(self, parts: Parts) -> Tensor:
        """The reconstruction's loss and its share of the commitment's."""
        total = parts.values["loss/reconstruction"]
        commitment = parts.values.get("loss/commitment")
        return total if commitment is None else total + self.config.loss.commitment * commitment
