"""What the networks see of a sample: pictures and whatever can be rendered as one, of one size, on one paper.

Pictures, drawings and maps are padded with white to a square, never cropped or squashed, so that a picture and its
pixel-aligned drawing stay aligned. `VERSION` is part of every fingerprint: raise it whenever a tensor changes.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from model.baseline_pictures import as_picture
from model.drawing import ByteArray, enlarged, ink, ink_as_picture, square
from model.embedder import UnsupportedModality, Value
from model.encoders.efficientnet import IMAGE_SIZE
from model.modality import Content, resolve

VERSION = "1"


def looked_at(modality: str, value: Value) -> ByteArray:
    """What the image encoder sees of a value: uint8 (224, 224, 3).

    Drawings are black ink on white paper, enlarged where they are small; everything else looks as
    `model.baseline_pictures` renders it. Raises `UnsupportedModality` for what has no look, such as words.
    """
    if resolve(modality).content is Content.DRAWING:
        return drawing_pixels(cast(ByteArray, value))
    shown = as_picture(modality, value)
    if shown is None:
        raise UnsupportedModality(f"{modality} cannot be rendered as a picture")
    return picture_pixels(shown)


def picture_pixels(picture: ByteArray) -> ByteArray:
    """uint8 (H, W, 3) of any size -> uint8 (224, 224, 3)."""
    return square(picture, IMAGE_SIZE, 255)


def drawing_pixels(drawing: ByteArray) -> ByteArray:
    """A drawing uint8 (H, W) of any polarity -> black ink on white paper, uint8 (224, 224, 3)."""
    return square(ink_as_picture(enlarged(ink(drawing))), IMAGE_SIZE, 255)


def encoder_input(pixels: Sequence[ByteArray]) -> Tensor:
    """B pictures uint8 (224, 224, 3) -> float32 (B, 3, 224, 224), (x - 127) / 128 as EfficientNet-Lite expects."""
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    return (batch.float() - 127.0) / 128.0
