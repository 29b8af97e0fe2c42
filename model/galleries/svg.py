"""SVG texts drawn on white paper, by resvg."""

import io

import numpy as np
from PIL import Image

from model.drawing import ByteArray

PICTURE_SIZE = 224


def svg_to_png(svg: str, size: int) -> bytes:
    """A PNG file with the sides of the drawing's own form, the longer one `size` pixels. Raises `ValueError`."""
    import resvg_py  # only who draws needs it

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background="#ffffff"))


def draw_svg(svg: str, size: int = PICTURE_SIZE) -> ByteArray:
    """The drawing in the middle of a white square: uint8 (size, size, 3). Raises `ValueError` if it is no SVG."""
    picture = Image.open(io.BytesIO(svg_to_png(svg, size))).convert("RGB")
    canvas = Image.new("RGB", (size, size), "white")
    picture.thumbnail((size, size))
    canvas.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return np.asarray(canvas)
