"""Measure reconstruction quality on validation samples: sums over batches, one class per kind of input."""

import math
from collections.abc import Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.tokenizers.inputs import InputKind
from anyseek.model.training.pretraining.evaluation import recalls
from anyseek.model.training.run.records import Number

_RANGE = 2.0  # of pictures in [-1, 1]


class Quality(Protocol):
    """Takes inputs and what the tokens of them were decoded to, and tells what came of all of them."""

    def add(self, wanted: Tensor, rebuilt: Tensor) -> None: ...

    def found(self) -> dict[str, Number]:
        """Its columns; None where nothing was added."""
        ...


class PictureQuality:
    """`quality/l1` and `quality/psnr` (dB, over all pixels) of pictures float (B, C, H, W) in [-1, 1].

    For depth, which has no range, the range is taken to be as wide.
    """

    def __init__(self) -> None:
        self._pixels, self._distance, self._square = 0, 0.0, 0.0

    def add(self, wanted: Tensor, rebuilt: Tensor) -> None:
        apart = (rebuilt.float() - wanted).double()
        self._pixels += apart.numel()
        self._distance += float(apart.abs().sum())
        self._square += float(apart.square().sum())

    def found(self) -> dict[str, Number]:
        if not self._pixels:
            return {"quality/l1": None, "quality/psnr": None}
        error = max(self._square / self._pixels, 1e-12)
        return {"quality/l1": self._distance / self._pixels, "quality/psnr": 10 * math.log10(_RANGE**2 / error)}


class LabelQuality:
    """`quality/accuracy` of pixels, and `quality/miou`: the mean over the labels that occur on either side."""

    def __init__(self, labels: int) -> None:
        self._table = torch.zeros(labels, labels, dtype=torch.int64)  # wanted, found

    def add(self, wanted: Tensor, rebuilt: Tensor) -> None:
        labels = len(self._table)
        pairs = wanted.flatten().cpu() * labels + rebuilt.argmax(dim=1).flatten().cpu()
        self._table += pairs.bincount(minlength=labels**2).view(labels, labels)

    def found(self) -> dict[str, Number]:
        both, total = self._table.diagonal(), int(self._table.sum())
        either = self._table.sum(dim=0) + self._table.sum(dim=1) - both
        if not total:
            return {"quality/accuracy": None, "quality/miou": None}
        shares = (both / either.clamp_min(1))[either > 0]
        return {"quality/accuracy": int(both.sum()) / total, "quality/miou": float(shares.mean())}


class MaskQuality:
    """`quality/iou`: the mean over masks of 0 and 1, float (B, 1, H, W), of logits that are above 0 inside."""

    def __init__(self) -> None:
        self._masks, self._sum = 0, 0.0

    def add(self, wanted: Tensor, rebuilt: Tensor) -> None:
        real, found = wanted.flatten(1) > 0.5, rebuilt.flatten(1) > 0
        shares = (real & found).sum(dim=1) / (real | found).sum(dim=1).clamp_min(1)
        self._masks, self._sum = self._masks + len(wanted), self._sum + float(shares.sum())

    def found(self) -> dict[str, Number]:
        return {"quality/iou": self._sum / self._masks if self._masks else None}


class MapQuality:
    """`quality/cosine`: the mean over positions of maps float (B, C, h, w)."""

    def __init__(self) -> None:
        self._places, self._sum = 0, 0.0

    def add(self, wanted: Tensor, rebuilt: Tensor) -> None:
        cosines = F.cosine_similarity(rebuilt.float(), wanted, dim=1)
        self._places, self._sum = self._places + cosines.numel(), self._sum + float(cosines.double().sum())

    def found(self) -> dict[str, Number]:
        return {"quality/cosine": self._sum / self._places if self._places else None}


class VectorQuality:
    """`quality/cosine`, and `quality/found`: how often a vector is the nearest to what its own tokens stand for.

    Of all that were added, float (B, C), both sides centred: the most that retrieval by these tokens can find.
    """

    def __init__(self) -> None:
        self._wanted: list[Tensor] = []
        self._rebuilt: list[Tensor] = []

    def add(self, wanted: Tensor, rebuilt: Tensor) -> None:
        self._wanted.append(wanted.cpu())
        self._rebuilt.append(rebuilt.float().cpu())

    def found(self) -> dict[str, Number]:
        if not self._wanted:
            return {"quality/cosine": None, "quality/found": None}
        wanted, rebuilt = torch.cat(self._wanted), torch.cat(self._rebuilt)
        cosine = float(F.cosine_similarity(rebuilt, wanted, dim=1).mean())
        return {"quality/cosine": cosine, "quality/found": recalls(rebuilt, wanted)[0]}


def quality_of(kind: InputKind, labels: int | None) -> Quality:
    """A new tally for a kind of inputs."""
    if kind is InputKind.LABELS:
        return LabelQuality(labels or 0)
    plain: Mapping[InputKind, type[PictureQuality | MaskQuality | MapQuality | VectorQuality]] = {
        InputKind.PICTURE: PictureQuality,
        InputKind.MASK: MaskQuality,
        InputKind.MAP: MapQuality,
        InputKind.VECTOR: VectorQuality,
    }
    return plain[kind]()
