"""Draw inputs next to their reconstructions as one PNG: one row per sample, input left, reconstruction right."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from anyseek.model.files import whole_file
from anyseek.model.tokenizers.image_vqvae import images_to_uint8
from anyseek.model.tokenizers.inputs import InputKind

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
