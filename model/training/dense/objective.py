"""The losses of a dense decoder, and its measures on validation samples."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.fourm.bundled.dense_decoder import SEEN, TARGETS, Decoded, DenseDecoder
from anyseek.model.training.dense.material import Batch

_SHARES: Mapping[str, float] = {"depth": 4.0, "normal": 2.0, "semseg": 0.5}  # what brings the three to a like size
_LEAST_KNOWN = 16  # pixels of known depth that a fit of two numbers needs
_RIDGE = 1e-4
_NEARLY = 1e-6


@dataclass(frozen=True)
class Losses:
    """One number for each of B things, and by target whether it counts: known of the thing, and not its own input."""

    of: Mapping[str, Tensor]
    counts: Mapping[str, Tensor]

    def total(self) -> Tensor:
        """The weighted sum of the means."""
        means = [
            share * (self.of[name] * self.counts[name]).sum() / _most(self.counts[name])
            for name, share in _SHARES.items()
        ]
        return torch.stack(means).sum()


def losses(decoded: Decoded, batch: Batch, label_weights: Tensor) -> Losses:
    """The losses of decoded images of 56 x 56.

    - `depth`: `abs_rel`, as it is measured: after scale and shift that fit best
    - `normal`: the length of the difference of unit vectors, which is nearly the angle
    - `semseg`: cross-entropy, each label with its weight
    """
    known = {
        "depth": (batch.depth > 0).flatten(1).sum(dim=1) >= _LEAST_KNOWN,
        "normal": batch.normal.flatten(1).any(dim=1),
        "semseg": batch.semseg.flatten(1).any(dim=1),
    }
    own = {name: batch.inputs == SEEN.index(name) for name in TARGETS}
    of = {
        "depth": depth_errors(decoded.depth[:, 0], batch.depth),
        "normal": _chords(decoded.normal, batch.normal),
        "semseg": _cross_entropies(decoded.semseg, batch.semseg.long(), label_weights),
    }
    return Losses(of, {name: (known[name] & ~own[name]).float() for name in TARGETS})


def label_weights(counts: Tensor) -> Tensor:
    """Weights of labels by their pixels (labels,): rare ones count more, by the root of how much rarer they are."""
    shares = counts / counts[1:].sum()
    weights = (shares[1:].median() / shares.clamp(min=_NEARLY)).sqrt().clamp(0.1, 5.0)
    weights[0] = 0
    return weights.float()


def depth_errors(said: Tensor, known: Tensor) -> Tensor:
    """`abs_rel` (B,) of depth (B, H, W) without unit, scaled and shifted to fit `known` best (least squares)."""
    there = (known > 0).flatten(1)
    scale, shift = depth_fits(said, known)
    fitted = (scale[:, None] * said.flatten(1) + shift[:, None]).clamp(min=_NEARLY)
    t = torch.where(there, known.flatten(1), 1.0)
    return ((fitted - t).abs() / t * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)


def depth_fits(said: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The scale (B,) and the shift (B,) with which depth (B, H, W) fits `known` best."""
    there = known > 0
    mask, t, p = there.flatten(1).float(), torch.where(there, known, 1.0).flatten(1), said.flatten(1)
    count = mask.sum(dim=1).clamp(min=1)
    mean_p, mean_t = (p * mask).sum(dim=1) / count, (t * mask).sum(dim=1) / count
    p0, t0 = (p - mean_p[:, None]) * mask, (t - mean_t[:, None]) * mask
    scale = (p0 * t0).sum(dim=1) / (p0.square().sum(dim=1) + _RIDGE * count)
    return scale, mean_t - scale * mean_p


def _chords(said: Tensor, known: Tensor) -> Tensor:
    there = known.square().sum(dim=1) > 0.5
    lengths = ((said - known).square().sum(dim=1) + _NEARLY).sqrt()
    return (lengths * there).flatten(1).sum(dim=1) / there.flatten(1).sum(dim=1).clamp(min=1)


def _cross_entropies(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    each = F.cross_entropy(logits, labels, weight=weights, reduction="none").flatten(1)
    return each.sum(dim=1) / weights[labels].flatten(1).sum(dim=1).clamp(min=_NEARLY)


@torch.inference_mode()
def measured(decoder: DenseDecoder, batches: Iterable[Batch]) -> Tensor:
    """The errors (targets, inputs) of a decoder: `abs_rel`, mean angle in degrees, 1 - mean IoU; NaN where unknown."""
    sums, counts = torch.zeros(len(TARGETS), len(SEEN)), torch.zeros(len(TARGETS), len(SEEN))
    overlap = torch.zeros(len(SEEN), 2, decoder.labels)  # pixels where both say a label, and where either does
    for batch in batches:
        decoded = decoder(batch.levels, batch.inputs)
        found = losses(decoded, batch, torch.ones(decoder.labels))
        degrees = torch.rad2deg(2 * torch.asin((found.of["normal"] / 2).clamp(max=1)))
        for row, values in enumerate((found.of["depth"], degrees)):
            mask = found.counts[TARGETS[row]]
            sums[row].index_add_(0, batch.inputs, values * mask)
            counts[row].index_add_(0, batch.inputs, mask)
        _count_overlap(overlap, decoded.semseg, batch)
    errors = sums / counts
    either = overlap[:, 1]
    errors[2] = 1 - (overlap[:, 0] / either.clamp(min=1)).sum(dim=1) / (either > 0).sum(dim=1)
    return errors


def _count_overlap(overlap: Tensor, logits: Tensor, batch: Batch) -> None:
    logits[:, 0] = -torch.inf
    labels = overlap.shape[2]
    for said, wanted, given in zip(logits.argmax(dim=1), batch.semseg.long(), batch.inputs, strict=True):
        known = wanted > 0
        said, wanted = said[known], wanted[known]
        both = torch.bincount(wanted[said == wanted], minlength=labels)
        overlap[given, 0] += both
        overlap[given, 1] += torch.bincount(said, minlength=labels) + torch.bincount(wanted, minlength=labels) - both


def _most(mask: Tensor) -> Tensor:
    return mask.sum().clamp(min=1)
