"""Prepare samples for the networks: pictures, or values rendered as pictures, of one size on one background.

Pictures, drawings and maps are padded with white to a square, never cropped or squashed, so that a picture and its
pixel-aligned drawing stay aligned. `VERSION` is part of every fingerprint: raise it whenever a tensor changes.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from anyseek.model.encoders.efficientnet import IMAGE_SIZE
from anyseek.model.errors import UnsupportedModality
from anyseek.model.modalities.drawings import ByteArray, crop_to_ink, ink, ink_to_picture, square
from anyseek.model.modalities.registry import Content, resolve
from anyseek.model.modalities.values import CONTENTS
from anyseek.model.seam import Value

VERSION = "1"


def render_for_encoder(modality: str, value: Value) -> ByteArray:
    """Render a value for the image encoder: uint8 (224, 224, 3).

    Raises `UnsupportedModality` for values that cannot be rendered, such as text.
    """
    return content_pixels(resolve(modality).content, value, modality)


def content_pixels(content: Content, value: Value, name: str = "") -> ByteArray:
    """Render a value of the given content for the image encoder: uint8 (224, 224, 3).

    Drawings become black ink on white paper, enlarged if they are small. The content's record renders everything
    else. Raises `UnsupportedModality` for values that cannot be rendered; its message calls the value `name`.
    """
    if content is Content.DRAWING:
        return drawing_pixels(cast(ByteArray, value))
    look = CONTENTS[content].render
    shown = None if look is None else look(value)
    if shown is None:
        raise UnsupportedModality(f"{name or content} cannot be rendered as a picture")
    return picture_pixels(shown)


def picture_pixels(picture: ByteArray) -> ByteArray:
    """uint8 (H, W, 3) of any size -> uint8 (224, 224, 3)."""
    return square(picture, IMAGE_SIZE, 255)


def drawing_pixels(drawing: ByteArray) -> ByteArray:
    """A drawing uint8 (H, W) of any polarity -> black ink on white paper, uint8 (224, 224, 3)."""
    return square(ink_to_picture(crop_to_ink(ink(drawing))), IMAGE_SIZE, 255)


def encoder_input(pixels: Sequence[ByteArray]) -> Tensor:
    """B pictures uint8 (224, 224, 3) -> float32 (B, 3, 224, 224), (x - 127) / 128 as EfficientNet-Lite expects."""
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    return (batch.float() - 127.0) / 128.0
