"""Arrays, pictures and documents to the bytes of files; the same value always gives the same bytes."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


@dataclass(frozen=True)
class PredictionFile:
    """One file of a prediction: `name` has no folder in it."""

    name: str
    media_type: str
    data: bytes


def png(name: str, picture: Image.Image | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> PredictionFile:
    """A PNG of a picture, or of uint8 (H, W) or (H, W, 3), or of uint16 (H, W)."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, "PNG")
    return PredictionFile(f"{name}.png", "image/png", file.getvalue())


def npy(name: str, values: npt.NDArray[np.generic]) -> PredictionFile:
    """The array as an NPY file (numpy.load reads it)."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return PredictionFile(f"{name}.npy", "application/x-npy", file.getvalue())


def document(name: str, members: Any) -> PredictionFile:
    """JSON in UTF-8. Raises ValueError for numbers that are not finite."""
    text = json.dumps(members, ensure_ascii=False, allow_nan=False, indent=1)
    return PredictionFile(f"{name}.json", "application/json", f"{text}\n".encode())


def text(name: str, words: str) -> PredictionFile:
    """Plain text in UTF-8, one line end after it."""
    return PredictionFile(f"{name}.txt", "text/plain; charset=utf-8", f"{words}\n".encode())
