"""What no loss says of a fitted decoder and validation samples do: the unit of depth, and how ready each label is."""

from collections.abc import Iterable

import torch
from torch import Tensor

from anyseek.model.fourm.bundled.dense_decoder import SEEN, DenseDecoder
from anyseek.model.training.dense.material import Batch
from anyseek.model.training.dense.objective import depth_fits, losses

_OFFSETS = (-1.0, -0.5, 0.5, 1.0)  # of a label's logit, that are tried
_EVERY = 2  # places in each direction of which one is looked at
_NEVER = -1e4  # the logit of none


@torch.no_grad()
def set_unit(decoder: DenseDecoder, batches: Iterable[Batch]) -> None:
    """Bring depth to metres, by the median of the scales and shifts that fit it best; what is near is then small.

    The loss leaves both open, their sign too.
    """
    fits = []
    for batch in batches:
        decoded = decoder(batch.levels, batch.inputs)
        counts = losses(decoded, batch, torch.ones(decoder.labels)).counts["depth"] > 0
        fits.append(torch.stack(depth_fits(decoded.depth[:, 0], batch.depth))[:, counts])
    scale, shift = torch.cat(fits, dim=1).median(dim=1).values
    weight, bias = decoder.images.get_parameter("weight"), decoder.images.get_parameter("bias")
    weight[0] *= scale
    bias[0] = scale * bias[0] + shift


@torch.no_grad()
def set_offsets(decoder: DenseDecoder, batches: Iterable[Batch]) -> None:
    """Shift the logit of each label, one after the other, as the mean IoU of regions in pictures gains most by it.

    Cross-entropy asks for likely labels. The mean IoU counts rare labels as much as common ones, and labels that are
    never right are better never said.
    """
    logits, labels = _labelled(decoder, batches)
    if not len(labels):
        return
    logits[:, 0] = _NEVER
    best = mean_iou(logits, labels)
    for label in range(1, decoder.labels):
        plain, kept = logits[:, label].clone(), 0.0
        for offset in _OFFSETS:
            logits[:, label] = plain + offset
            if (found := mean_iou(logits, labels)) > best:
                best, kept = found, offset
        logits[:, label] = plain + kept
        decoder.regions.get_parameter("bias")[label] += kept


def mean_iou(logits: Tensor, labels: Tensor) -> float:
    """The mean IoU of logits (n, labels) over the labels int64 (n,) that are there or said."""
    count, said = logits.shape[1], logits.argmax(dim=1)
    both = torch.bincount(labels[said == labels], minlength=count)
    either = torch.bincount(labels, minlength=count) + torch.bincount(said, minlength=count) - both
    return float((both / either.clamp(min=1)).sum() / (either > 0).sum())


def _labelled(decoder: DenseDecoder, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """The logits (n, labels) and labels (n,) of places of pictures that have a label."""
    logits, labels = [torch.zeros(0, decoder.labels)], [torch.zeros(0, dtype=torch.int64)]
    for batch in batches:
        pictures = batch.inputs == SEEN.index("rgb")
        decoded = decoder([level[pictures] for level in batch.levels], batch.inputs[pictures])
        wanted = batch.semseg[pictures][:, ::_EVERY, ::_EVERY].long()
        known = wanted > 0
        logits.append(decoded.semseg[:, :, ::_EVERY, ::_EVERY].movedim(1, -1)[known])
        labels.append(wanted[known])
    return torch.cat(logits), torch.cat(labels)
