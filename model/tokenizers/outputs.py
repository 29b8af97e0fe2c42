"""What tokenizers decode to, as arrays for files. B batch, C channels, H x W pixels; tensors may lie on any device."""

import numpy as np
import numpy.typing as npt
from torch import Tensor

_LARGEST_8, _LARGEST_16 = 255, 65_535


def images_to_uint8(images: Tensor) -> npt.NDArray[np.uint8]:
    """Pictures, normals or edges float (B, C, H, W), [-1, 1] and clipped to it -> uint8 (B, H, W, C)."""
    # (B, C, H, W) -> (B, H, W, C)
    unit = ((images.float() + 1) / 2).clamp(0, 1).movedim(1, -1)
    return (unit * _LARGEST_8).round().cpu().numpy().astype(np.uint8)


def depth_to_uint16(depth: Tensor) -> npt.NDArray[np.uint16]:
    """Standardised depth float (B, 1, H, W) -> uint16 (B, H, W), each image from 0 (least) to 65535 (most).

    The decoded scale means nothing; an image of one value becomes 0.
    """
    # (B, 1, H, W) -> (B, H, W)
    values = depth[:, 0].float()
    least, most = values.amin(dim=(1, 2), keepdim=True), values.amax(dim=(1, 2), keepdim=True)
    span = (most - least).masked_fill(most == least, 1.0)
    return ((values - least) / span * _LARGEST_16).round().cpu().numpy().astype(np.uint16)


def logits_to_labels(logits: Tensor) -> npt.NDArray[np.uint8]:
    """Logits float (B, labels <= 256, H, W) -> the best label uint8 (B, H, W); 0 is none and class k is k + 1."""
    return logits.argmax(dim=1).cpu().numpy().astype(np.uint8)


def logits_to_masks(logits: Tensor) -> npt.NDArray[np.bool_]:
    """Mask logits float (B, 1, H, W) -> bool (B, H, W), True where the instance is more likely than not."""
    return np.asarray((logits[:, 0] > 0).cpu().numpy())
