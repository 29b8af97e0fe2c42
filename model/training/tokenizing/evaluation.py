"""Evaluates a tokenizer on validation samples during training, and draws some of its reconstructions."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from anyseek.model.files import atomic_file
from anyseek.model.tokenizers.build import Tokenizer
from anyseek.model.tokenizers.image_vqvae import images_to_uint8
from anyseek.model.tokenizers.inputs import InputKind
from anyseek.model.training.pretraining.evaluation import recalls
from anyseek.model.training.run.folder import Number, RunFolder
from anyseek.model.training.run.state import TrainingState
from anyseek.model.training.tokenizing.batches import InputBatch, InputSource
from anyseek.model.training.tokenizing.config import DrawnEvaluationConfig
from anyseek.model.training.tokenizing.objective import CodeCounts, TokenizerObjective, reconstruct

_RANGE = 2.0  # of pictures in [-1, 1]


class Quality:
    """Metrics of reconstructions, accumulated over batches, by the kind of input.

    - pictures float (B, C, H, W) in [-1, 1]: `quality/l1` and `quality/psnr` (dB, over all pixels), which also assumes
      this range for depth
    - labels: `quality/accuracy` of pixels, and `quality/miou`, the mean over labels that occur on either side
    - masks of 0 and 1, float (B, 1, H, W), against logits (above 0 is inside): `quality/iou`, the mean over masks
    - maps float (B, C, h, w): `quality/cosine`, the mean over positions
    - vectors float (B, C): `quality/cosine`, and `quality/found`, the R@1 of a vector by its own reconstruction, both
      centred: the upper bound of retrieval by these tokens
    """

    def __init__(self, kind: InputKind, labels: int = 0) -> None:
        self._kind, self._count, self._sum, self._square = kind, 0, 0.0, 0.0
        self._table = torch.zeros(labels, labels, dtype=torch.int64)  # by target, by reconstruction
        self._vectors: list[tuple[Tensor, Tensor]] = []

    def add(self, targets: Tensor, outputs: Tensor) -> None:
        """Add a batch of inputs and their reconstructions from tokens."""
        match self._kind:
            case InputKind.LABELS:
                labels, predicted = len(self._table), outputs.argmax(dim=1)
                pairs = targets.flatten().cpu() * labels + predicted.flatten().cpu()
                self._table += pairs.bincount(minlength=labels**2).view(labels, labels)
                values = (predicted == targets).float()
            case InputKind.MASK:
                expected, predicted = targets.flatten(1) > 0.5, outputs.flatten(1) > 0
                values = (expected & predicted).sum(dim=1) / (expected | predicted).sum(dim=1).clamp_min(1)
            case InputKind.PICTURE:
                values = (outputs.float() - targets).abs()
            case _:
                values = F.cosine_similarity(outputs.float(), targets, dim=1)
                if self._kind is InputKind.VECTOR:
                    self._vectors.append((outputs.float().cpu(), targets.cpu()))
        self._count += values.numel()
        self._sum += float(values.double().sum())
        self._square += float(values.double().square().sum())

    def columns(self) -> dict[str, Number]:
        """The metrics by column; None if no batch was added."""
        count = self._count
        mean = self._sum / count if count else None
        match self._kind:
            case InputKind.PICTURE:
                error = max(self._square / max(count, 1), 1e-12)
                return {"quality/l1": mean, "quality/psnr": 10 * math.log10(_RANGE**2 / error) if count else None}
            case InputKind.LABELS:
                intersection = self._table.diagonal()
                union = self._table.sum(dim=0) + self._table.sum(dim=1) - intersection
                ious = (intersection / union.clamp_min(1))[union > 0]
                return {"quality/accuracy": mean, "quality/miou": float(ious.mean()) if count else None}
            case InputKind.MASK:
                return {"quality/iou": mean}
            case InputKind.MAP:
                return {"quality/cosine": mean}
            case InputKind.VECTOR:
                rows = [torch.cat(side) for side in zip(*self._vectors, strict=True)]
                return {"quality/cosine": mean, "quality/found": recalls(*rows)[0] if count else None}


_GAP = 4  # pixels between pictures
_MIN_SIDE = 64  # pixels; smaller pictures are enlarged
_EPSILON = 1e-6

Pictures = npt.NDArray[np.uint8]


def draw_gallery(kind: InputKind, targets: Tensor, outputs: Tensor, path: Path) -> None:
    """Write a PNG of inputs (left) and reconstructions (right), (B, ...) each, atomically."""
    sides = [
        np.broadcast_to(side, (*side.shape[:3], 3)) for side in _to_pictures(kind, targets.cpu(), outputs.float().cpu())
    ]
    times = max(1, _MIN_SIDE // sides[0].shape[2])
    frame = ((0, 0), (_GAP // 2, _GAP // 2), (_GAP // 2, _GAP // 2), (0, 0))
    framed = [np.pad(side.repeat(times, 1).repeat(times, 2), frame, constant_values=255) for side in sides]
    canvas = np.concatenate([np.concatenate(side) for side in framed], axis=1)
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as temporary:
        Image.fromarray(canvas).save(temporary, "PNG")


def _to_pictures(kind: InputKind, targets: Tensor, outputs: Tensor) -> tuple[Pictures, Pictures]:
    """Inputs and reconstructions as uint8 (B, H, W, 1 or 3), with the same colours."""
    if kind is InputKind.LABELS:
        both = (targets, outputs.argmax(dim=1))
        steps = np.array([67, 149, 223])  # a colour for each label, 0 black
        left, right = ((side.numpy()[..., None] * steps % 256).astype(np.uint8) for side in both)
        return left, right
    if kind is InputKind.MASK:
        targets, outputs = 2 * targets - 1, 2 * (outputs > 0).float() - 1
    elif kind is InputKind.MAP:  # the first three principal components of the inputs as red, green and blue
        rows = targets.movedim(1, -1).flatten(0, 2)
        mean, axes = rows.mean(dim=0), (rows - rows.mean(dim=0)).svd().V[:, :3]
        scale = ((rows - mean) @ axes).abs().amax(dim=0).clamp_min(_EPSILON)
        targets, outputs = (
            (((side.movedim(1, -1) - mean) @ axes) / scale).movedim(-1, 1) for side in (targets, outputs)
        )
    elif targets.abs().max() > 1 + _EPSILON:  # depth exceeds [-1, 1]: scale by the input's range
        low, high = targets.amin(dim=(1, 2, 3), keepdim=True), targets.amax(dim=(1, 2, 3), keepdim=True)
        targets, outputs = (2 * (side - low) / (high - low).clamp_min(_EPSILON) - 1 for side in (targets, outputs))
    return images_to_uint8(targets), images_to_uint8(outputs)


@dataclass(frozen=True)
class TokenizerEvaluation:
    """Losses, code usage and reconstructions of the first `config.samples` of each folder, in a fixed order.

    `source` has the validation shards of every folder, and its batches fit into memory. A diffusion decodes only the
    drawn samples, so its quality is measured on these.
    """

    config: DrawnEvaluationConfig
    source: InputSource
    objective: TokenizerObjective
    folder: RunFolder
    state: TrainingState

    def columns(self) -> list[str]:
        """The names of the columns that `measure` returns."""
        losses = [name for name in self.objective.columns if name.startswith("loss/")]
        return ["loss", *losses, "codes/used", "codes/perplexity", *self._quality().columns()]

    @torch.no_grad()
    def measure(self, network: Tokenizer) -> dict[str, Number]:
        """The value of every column. Also writes a picture named by the step."""
        network.eval()
        quality, tokenizer = self._quality(), self.source.tokenizer
        counts = CodeCounts(tokenizer.num_codebooks, tokenizer.codebook_size)
        losses: dict[str, float] = {}
        drawn: list[tuple[Tensor, Tensor]] = []
        samples = 0
        for batch in map(self.objective.prepare, self._batches()):
            result = self.objective.forward(network, batch)
            for name, loss in self.objective.parts(result).items():
                losses[name] = losses.get(name, 0.0) + float(loss) * batch.samples
            counts.add(result.ids)
            draws = self.source.kind is not InputKind.VECTOR and samples < self.config.pictures
            samples += batch.samples
            if draws or not tokenizer.is_diffusion:
                size = (int(batch.values.shape[-2]), int(batch.values.shape[-1])) if batch.values.dim() > 2 else (0, 0)
                outputs = reconstruct(network, result.ids, size, self.config.steps)
                quality.add(batch.values, outputs)
                if draws:
                    drawn.append((batch.values, outputs))
        if drawn:
            targets, shown = (torch.cat(parts)[: self.config.pictures] for parts in zip(*drawn, strict=True))
            path = self.folder.reconstructions / f"step-{self.state.counters.step:09d}.png"
            draw_gallery(self.source.kind, targets, shown, path)
        network.train()
        means = {name: total / samples for name, total in losses.items()}
        total = means["loss/reconstruction"] + self.objective.config.loss.commitment * means.get("loss/commitment", 0.0)
        usage = {"codes/used": counts.used(), "codes/perplexity": counts.perplexity()}
        return {"loss": total, **means, **usage, **quality.columns()}

    def _batches(self) -> Iterator[InputBatch]:
        """The samples in batches, whose numbers are the same at every evaluation."""
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
        return Quality(self.source.kind, self.source.tokenizer.n_labels or 0)
