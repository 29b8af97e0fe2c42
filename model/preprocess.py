"""What the networks see of a sample: pictures and drawings as tensors of one size, on one paper.

Pictures and drawings are padded with white to a square, never cropped or squashed, so that a picture and its
pixel-aligned drawing stay aligned. `VERSION` is part of every fingerprint: raise it whenever a tensor changes.
"""

import numpy as np
import torch
from torch import Tensor

from model.drawing import ByteArray, enlarged, ink, ink_as_picture, square
from model.encoders.efficientnet import IMAGE_SIZE

VERSION = "1"


def picture_pixels(picture: ByteArray) -> ByteArray:
    """uint8 (H, W, 3) of any size -> uint8 (224, 224, 3)."""
    return square(picture, IMAGE_SIZE, 255)


def drawing_pixels(drawing: ByteArray) -> ByteArray:
    """A drawing uint8 (H, W) of any polarity -> black ink on white paper, uint8 (224, 224, 3)."""
    return square(ink_as_picture(enlarged(ink(drawing))), IMAGE_SIZE, 255)


def encoder_input(pixels: list[ByteArray]) -> Tensor:
    """B pictures uint8 (224, 224, 3) -> float32 (B, 3, 224, 224), (x - 127) / 128 as EfficientNet-Lite expects."""
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    return (batch.float() - 127.0) / 128.0
