"""Arrays as the bytes of files."""

import io

import numpy as np
from PIL import Image


def png(values: np.ndarray, kind: str = "PNG", palette: list[int] | None = None) -> bytes:
    stream, image = io.BytesIO(), Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette)
    image.save(stream, kind)
    return stream.getvalue()


def npy(values: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()
