"""Evaluate a tokenizer on validation samples during training, and draw some of its reconstructions."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from anyseek.model.files import whole_file
from anyseek.model.tokenizers.build import Tokenizer
from anyseek.model.tokenizers.inputs import InputKind
from anyseek.model.tokenizers.outputs import images_to_uint8
from anyseek.model.training.pretraining.evaluation import recalls
from anyseek.model.training.run.folder import Number, RunFolder
from anyseek.model.training.run.state import TrainingState
from anyseek.model.training.tokenizing.batches import InputBatch, InputSource
from anyseek.model.training.tokenizing.config import DrawnEvaluationConfig
from anyseek.model.training.tokenizing.objective import CodeCounts, TokenizerObjective, reconstruct

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


_GAP, _PAPER = 4, 255
_LEAST = 64  # pixels: what is smaller is shown enlarged
_BAR = 16  # pixels: height of a vector's row
_FEW = 1e-6

Pictures = npt.NDArray[np.uint8]


def draw_gallery(kind: InputKind, wanted: Tensor, rebuilt: Tensor, path: Path) -> None:
    """Write the picture of inputs and reconstructions (B, ...); it appears whole or not at all."""
    left, right = _shown(kind, wanted.cpu(), rebuilt.float().cpu())
    rows, height, width = left.shape[:3]
    canvas = np.full((rows * (height + _GAP) + _GAP, 2 * (width + _GAP) + _GAP, 3), _PAPER, np.uint8)
    for row in range(rows):
        top = _GAP + row * (height + _GAP)
        canvas[top : top + height, _GAP : _GAP + width] = left[row]
        canvas[top : top + height, 2 * _GAP + width : 2 * (_GAP + width)] = right[row]
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as temporary:
        Image.fromarray(canvas).save(temporary, "PNG")


def _shown(kind: InputKind, wanted: Tensor, rebuilt: Tensor) -> tuple[Pictures, Pictures]:
    """Both sides uint8 (B, H, W, 3), in the same colours."""
    if kind is InputKind.LABELS:
        both = [_coloured(wanted.numpy()), _coloured(rebuilt.argmax(dim=1).numpy())]
    elif kind is InputKind.MASK:
        both = [images_to_uint8(2 * wanted - 1), images_to_uint8(2 * (rebuilt > 0).float() - 1)]
    elif kind is InputKind.VECTOR:
        both = [_bars(wanted), _bars(rebuilt)]
    elif kind is InputKind.MAP:
        both = list(_components(wanted, rebuilt))
    else:
        both = list(_pictures(wanted, rebuilt))
    left, right = (_enlarged(np.broadcast_to(side, (*side.shape[:3], 3))) for side in both)
    return left, right


def _pictures(wanted: Tensor, rebuilt: Tensor) -> tuple[Pictures, Pictures]:
    """As they are; what leaves [-1, 1], as depth does, from the input's least to its largest value."""
    if wanted.abs().max() <= 1 + _FEW:
        return images_to_uint8(wanted), images_to_uint8(rebuilt)
    low, high = wanted.amin(dim=(1, 2, 3), keepdim=True), wanted.amax(dim=(1, 2, 3), keepdim=True)
    return tuple(images_to_uint8(2 * (side - low) / (high - low).clamp_min(_FEW) - 1) for side in (wanted, rebuilt))  # type: ignore[return-value]


def _coloured(labels: npt.NDArray[np.int64]) -> Pictures:
    """A colour for each label, 0 black."""
    return np.stack([labels * step % 256 for step in (67, 149, 223)], axis=-1).astype(np.uint8)


def _bars(vectors: Tensor) -> Pictures:
    """Vectors (B, C) as rows of bars, grey where 0; each at length 1."""
    scaled = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(_FEW) * vectors.shape[1] ** 0.5 / 3
    bars = images_to_uint8(scaled[:, None, None, :]).repeat(_BAR, axis=1)
    return bars.repeat(-(-_LEAST // vectors.shape[1]), axis=2)


def _components(wanted: Tensor, rebuilt: Tensor) -> tuple[Pictures, Pictures]:
    """Maps (B, C, h, w) by the three directions in which the inputs differ most, as red, green and blue."""
    rows = wanted.movedim(1, -1).flatten(0, 2)
    mean = rows.mean(dim=0)
    axes = (rows - mean).svd().V[:, :3]
    scale = ((rows - mean) @ axes).abs().amax(dim=0).clamp_min(_FEW)

    def coloured(maps: Tensor) -> Pictures:
        return images_to_uint8((((maps.movedim(1, -1) - mean) @ axes) / scale).movedim(-1, 1))

    return coloured(wanted), coloured(rebuilt)


def _enlarged(pictures: Pictures) -> Pictures:
    """Small pictures (B, H, W, 3) with every pixel repeated."""
    times = max(1, _LEAST // pictures.shape[2])
    return pictures.repeat(times, axis=1).repeat(times, axis=2)


@dataclass(frozen=True)
class TokenizerEvaluation:
    """Losses, use of codes and reconstructions of the first `config.samples` of each folder in its own fixed order.

    `source` has the validation shards of every folder and makes batches of the size that fits into memory. A diffusion
    decodes only what is drawn, so its quality is that of these samples.
    """

    config: DrawnEvaluationConfig
    source: InputSource
    objective: TokenizerObjective
    folder: RunFolder
    state: TrainingState

    def columns(self) -> list[str]:
        """The names of what `measure` gives."""
        losses = [name for name in self.objective.columns if name.startswith("loss/")]
        return ["loss", *losses, "codes/used", "codes/perplexity", *self._quality().found()]

    @torch.no_grad()
    def measure(self, network: Tokenizer) -> dict[str, Number]:
        """Every column's value; writes a picture named by the step."""
        network.eval()
        tally = _Tally(self._quality(), self._counts())
        for batch in self._batches():
            self._add(network, self.objective.prepared(batch), tally)
        if tally.drawn:
            wanted, rebuilt = (torch.cat(parts)[: self.config.pictures] for parts in zip(*tally.drawn, strict=True))
            path = self.folder.reconstructions / f"step-{self.state.counters.step:09d}.png"
            draw_gallery(self.source.kind, wanted, rebuilt, path)
        network.train()
        return tally.found(self.objective)

    def _add(self, network: Tokenizer, batch: InputBatch, tally: "_Tally") -> None:
        done = self.objective.passed(network, batch)
        for name, loss in self.objective.parts(done).items():
            tally.losses[name] = tally.losses.get(name, 0.0) + float(loss) * batch.samples
        tally.samples += batch.samples
        tally.counts.add(done.ids)
        draws = tally.drawn_samples < self.config.pictures
        if draws or not self.source.tokenizer.is_diffusion:
            size = (int(batch.values.shape[-2]), int(batch.values.shape[-1])) if batch.values.dim() > 2 else (0, 0)
            rebuilt = reconstruct(network, done.ids, size, self.config.steps)
            tally.quality.add(batch.values, rebuilt)
            if draws:
                tally.drawn.append((batch.values, rebuilt))

    def _batches(self) -> Iterator[InputBatch]:
        """The samples in parts; the numbers of the parts are the same at every evaluation."""
        number = 0
        for folder in self.source.folders:
            maker = replace(self.source, folders=(folder,)).maker()
            last = min(self.config.samples, folder.samples)
            for first in range(0, last, self.source.size):
                samples = range(first, min(first + self.source.size, last))
                yield maker.batch(samples, self.source.modality.sizes[0], number)
                number += 1
            maker.close()

    def _quality(self) -> Quality:
        return quality_of(self.source.kind, self.source.tokenizer.n_labels)

    def _counts(self) -> CodeCounts:
        return CodeCounts(self.source.tokenizer.num_codebooks, self.source.tokenizer.codebook_size)


class _Tally:
    """Sums over the batches of an evaluation; `drawn` are inputs and reconstructions that are shown."""

    def __init__(self, quality: Quality, counts: CodeCounts) -> None:
        self.quality, self.counts = quality, counts
        self.losses: dict[str, float] = {}
        self.samples = 0
        self.drawn: list[tuple[Tensor, Tensor]] = []

    @property
    def drawn_samples(self) -> int:
        return sum(len(wanted) for wanted, _ in self.drawn)

    def found(self, objective: TokenizerObjective) -> dict[str, Number]:
        means = {name: total / self.samples for name, total in self.losses.items()}
        whole = objective.config.loss.commitment * means.get("loss/commitment", 0.0) + means["loss/reconstruction"]
        used = {"codes/used": self.counts.used(), "codes/perplexity": self.counts.perplexity()}
        return {"loss": whole, **means, **used, **self.quality.found()}
