"""How far a reconstruction is from its input, and the whole loss of a batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.tokenizers.build import Tokenizer
from model.training.pretraining.config import Precision
from model.training.pretraining.objective import Parts
from model.training.tokenizing.batches import InputBatch
from model.training.tokenizing.config import Reconstruction, TokenizerTraining
from model.training.tokenizing.passes import Pass, run_pass
from model.training.tokenizing.usage import CodeCounts

_NOISE_DRAWS = 8  # other numbers than those of batches, which end with 7
_LARGEST_SEED = 2**63 - 1


def binary_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of the softmax over (s, 1 - s), s = sigmoid(logit), for masks of 0 and 1, as 4M-21 takes it.

    It is bounded: a logit that is entirely wrong costs 1.31, one that is entirely right 0.31.
    """
    inside = 1 - 2 * logits.sigmoid()
    return F.softplus(torch.where(masks > 0.5, inside, -inside)).mean()


def cosine_loss(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Mean of one minus the cosine over axis 1, the channels."""
    return (1 - F.cosine_similarity(predicted, wanted, dim=1)).mean()


# From what is predicted and what is wanted, both float of one shape, or logits (B, K, H, W) and labels (B, H, W).
LOSSES: Mapping[Reconstruction, Callable[[Tensor, Tensor], Tensor]] = {
    Reconstruction.SMOOTH_L1: F.smooth_l1_loss,
    Reconstruction.L1: F.l1_loss,
    Reconstruction.MSE: F.mse_loss,
    Reconstruction.CROSS_ENTROPY: F.cross_entropy,
    Reconstruction.BINARY: binary_loss,
    Reconstruction.COSINE: cosine_loss,
}


@dataclass(frozen=True)
class TokenizerObjective:
    """What turns batches into losses."""

    config: TokenizerTraining
    device: torch.device

    @property
    def columns(self) -> list[str]:
        """The names of all losses, and of what is said of the codes of a batch."""
        averaged = () if self._learns_by_gradients else ("loss/commitment", "codes/replaced")
        return ["loss/reconstruction", *averaged, "codes/used", "codes/perplexity"]

    @property
    def _learns_by_gradients(self) -> bool:
        return self.config.tokenizer.quant_type == "memcodes"

    def prepared(self, batch: InputBatch) -> InputBatch:
        """The batch on the device."""
        return replace(batch, values=batch.values.to(self.device))

    def passed(self, network: Tokenizer, batch: InputBatch) -> Pass:
        """A prepared batch through the network, the noise being that of the batch's number."""
        mixed = np.random.default_rng([self.config.seed, _NOISE_DRAWS, batch.number]).integers(_LARGEST_SEED)
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
        parts = {"loss/reconstruction": LOSSES[self.config.loss.reconstruction](done.predicted, done.wanted)}
        return parts if done.commitment is None else parts | {"loss/commitment": done.commitment}

    def total(self, parts: Parts) -> Tensor:
        """The reconstruction's loss and its share of the commitment's."""
        total = parts.values["loss/reconstruction"]
        commitment = parts.values.get("loss/commitment")
        return total if commitment is None else total + self.config.loss.commitment * commitment
