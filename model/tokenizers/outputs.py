"""Convert tokenizer outputs to arrays for files. B batch, C channels, H x W pixels; tensors may be on any device."""

import numpy as np
import numpy.typing as npt
from torch import Tensor

_LARGEST_8 = 255


def images_to_uint8(images: Tensor) -> npt.NDArray[np.uint8]:
    """Pictures, normals or edges float (B, C, H, W), [-1, 1] and clipped to it -> uint8 (B, H, W, C)."""
    # (B, C, H, W) -> (B, H, W, C)
    unit = ((images.float() + 1) / 2).clamp(0, 1).movedim(1, -1)
    return (unit * _LARGEST_8).round().cpu().numpy().astype(np.uint8)


def logits_to_labels(logits: Tensor) -> npt.NDArray[np.uint8]:
    """Logits float (B, labels <= 256, H, W) -> the best label uint8 (B, H, W); 0 is none and class k is k + 1."""
    return logits.argmax(dim=1).cpu().numpy().astype(np.uint8)


def logits_to_masks(logits: Tensor) -> npt.NDArray[np.bool_]:
    """Mask logits float (B, 1, H, W) -> bool (B, H, W), True where the instance is more likely than not."""
    return np.asarray((logits[:, 0] > 0).cpu().numpy())
