"""The training objective of `4m-tiny`: cross-entropy over codes, as in 4M, and contrast of the decoded vectors.

The vector that the service will compare is made in training as in use: soft-decoded prediction plus what the
shortcuts say about the input's own encoder vectors, centred. InfoNCE against exact vectors of training pictures (and
of sentences) is taken on it: unseen concepts are found by direction, which cross-entropy over codes rewards only in
part.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.shortcuts import Shortcuts
from model.tiny import CAPTION, DRAWING, PALETTE, PICTURE, SEMANTIC, VISUAL
from model.tokenizers.vqvae import VQVAE
from model.tokens import ModalityInput
from model.training.batches import Batch
from model.transformer import FourM

NEGATIVES = 2048
_CODE_WEIGHT = 0.25


@dataclass(frozen=True)
class Targets:
    """What queries look for, of all training pictures and sentences: exact unit vectors, their codes and groups."""

    visual: Tensor
    visual_codes: Tensor
    visual_group: Tensor
    visual_mean: Tensor
    semantic: Tensor
    semantic_codes: Tensor
    semantic_group: Tensor
    semantic_mean: Tensor


def network_inputs(batch: Batch) -> dict[str, ModalityInput]:
    """The batch as the network takes it."""
    return {
        PICTURE: ModalityInput(batch.picture, batch.picture_mask),
        DRAWING: ModalityInput(batch.drawing, batch.drawing_mask),
        CAPTION: ModalityInput(batch.caption, batch.caption_mask),
        PALETTE: ModalityInput(batch.palette, batch.palette_mask),
    }


class Objective(nn.Module):
    """Network, frozen tokenizers and shortcuts together; `forward` gives the loss of a batch and its parts.

    `scale` holds the logarithms of both contrasts' inverse temperatures.
    """

    def __init__(self, network: FourM, tokenizers: dict[str, VQVAE], shortcuts: Shortcuts, targets: Targets) -> None:
        super().__init__()
        self.network, self.shortcuts = network, shortcuts
        self.scale = nn.Parameter(torch.tensor([2.7, 2.7]))
        self._tokenizers, self._targets = tokenizers, targets

    def forward(self, batch: Batch, negatives: Tensor) -> tuple[Tensor, dict[str, float]]:
        """`negatives` int64 (n,): rows of the visual targets to compare with."""
        logits = self.logits(batch)
        visual, semantic = self.query_vectors(logits, batch)
        losses = {
            "codes_visual": _code_loss(logits[VISUAL], self._targets.visual_codes[batch.target]),
            "contrast_visual": self._visual_contrast(visual, batch, negatives),
        }
        known = batch.semantic >= 0
        chosen = batch.semantic[known]
        losses["codes_semantic"] = _code_loss(logits[SEMANTIC][known], self._targets.semantic_codes[chosen])
        losses["contrast_semantic"] = self._semantic_contrast(semantic[known], chosen, batch.group[known])
        weights = {name: _CODE_WEIGHT if name.startswith("codes") else 1.0 for name in losses}
        total = torch.stack([losses[name] * weights[name] for name in losses]).sum()
        return total, {name: float(loss.detach()) for name, loss in losses.items()}

    def logits(self, batch: Batch) -> dict[str, Tensor]:
        """Logits float32 (B, 16, codes) of both targets; in training the network runs in bfloat16 where that helps."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.is_grad_enabled()):
            context = self.network.encode(network_inputs(batch))
            found = self.network.decode_global(context, (VISUAL, SEMANTIC))
        return {name: value.float() for name, value in found.items()}

    def query_vectors(self, logits: dict[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Centred unit query vectors (B, 1280) and (B, 384)."""
        vectors = self._vectors(logits, batch)
        visual, semantic = vectors[VISUAL] - self._targets.visual_mean, vectors[SEMANTIC] - self._targets.semantic_mean
        return F.normalize(visual, dim=1), F.normalize(semantic, dim=1)

    @torch.inference_mode()
    def raw_vectors(self, batch: Batch) -> dict[str, Tensor]:
        """What the service calls raw vectors, by space: unit (B, 1280) and (B, 384), nothing centred."""
        vectors = self._vectors(self.logits(batch), batch)
        return {space: F.normalize(rows, dim=1) for space, rows in vectors.items()}

    def own_vectors(self, batch: Batch) -> dict[str, Tensor]:
        """The inputs' own vectors by modality, zero rows where absent."""
        return {
            "rgb": batch.own_visual[:, 0],
            "canny_edge": batch.own_visual[:, 1],
            "caption": batch.own_semantic,
            "color_palette": batch.own_palette,
        }

    def _vectors(self, logits: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Unit predictions plus shortcuts, by space, of any length."""
        own = self.own_vectors(batch)
        return {space: self.decoded(space, rows) + self.shortcuts(own, space) for space, rows in logits.items()}

    def decoded(self, space: str, logits: Tensor) -> Tensor:
        """Unit vectors (B, d) of soft-decoded logits (B, 16, K)."""
        return F.normalize(self._tokenizers[space].decode_probabilities(logits.softmax(dim=2)), dim=1)

    def _visual_contrast(self, queries: Tensor, batch: Batch, negatives: Tensor) -> Tensor:
        """InfoNCE of queries against their target and `negatives`; those of the same group do not count."""
        rows = torch.cat((batch.target, negatives))
        gallery = F.normalize(self._targets.visual[rows] - self._targets.visual_mean, dim=1)
        size = len(queries)
        blocked = self._targets.visual_group[rows][None, :] == batch.group[:, None]
        blocked[torch.arange(size), torch.arange(size)] = False
        return _contrast(queries, gallery, blocked, torch.arange(size), self.scale[0])

    def _semantic_contrast(self, queries: Tensor, chosen: Tensor, group: Tensor) -> Tensor:
        """InfoNCE of queries against all sentence targets; others of the same group do not count."""
        gallery = F.normalize(self._targets.semantic - self._targets.semantic_mean, dim=1)
        blocked = self._targets.semantic_group[None, :] == group[:, None]
        blocked[torch.arange(len(chosen)), chosen] = False
        return _contrast(queries, gallery, blocked, chosen, self.scale[1])


def _contrast(queries: Tensor, gallery: Tensor, blocked: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    scores = queries @ gallery.T * scale.clamp(max=4.0).exp()
    return F.cross_entropy(scores.masked_fill(blocked, -1e4), right)


def _code_loss(logits: Tensor, codes: Tensor) -> Tensor:
    """Cross-entropy of logits (B, 16, K) at codes (B, 16)."""
    return F.cross_entropy(logits.flatten(0, 1), codes.flatten())
