"""Surface normals in the usual conventions: which way their axes point, and how their numbers stand for [-1, 1].

A camera sees only what faces it, so the axis towards the viewer has one sign almost everywhere. At the bottom of a
picture are mostly floors, which face up, and the sides of a room face each other.
"""

from itertools import product

import numpy as np

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.arrays import is_npy, picked, read_npy
from anyseek.model.modalities.reading.encoded import Encoded, Reading, Understood, told_form
from anyseek.model.modalities.reading.errors import BadMap
from anyseek.model.modalities.reading.pictures import decode_normal, load_picture
from anyseek.model.seam import FloatArray

# Where x, y and z point. The first is what items and predictions have.
_AXES_POINT = (("right", "left"), ("up", "down"), ("viewer", "away"))
FORMS = {"-".join(axes): f"x, y and z point {', '.join(axes)}" for axes in product(*_AXES_POINT)}
_OF_ITEMS = next(iter(FORMS))
_AXES = ("height", "width", "channels")
_SHORT, _LONG = 0.5, 1.5  # lengths of vectors that can be normals
_UNIT = 0.8  # so many vectors have such a length, or it is no map of normals


def understand_normal(file: Encoded) -> Reading:
    """Normals of any form in FORMS, as PNG of 8 bits, TIFF or NPY: uint8 (H, W, 3), [0, 255] stands for [-1, 1].

    They come out as right, up and towards the viewer; what has no normal is (128, 128, 128). Raises `DecodeError`.
    """
    told = told_form(file, FORMS)
    vectors = _vectors(file)
    form, sure, why = (told, 1.0, "as you said") if told else _guess(vectors)
    signs = [1.0 if axis == first else -1.0 for axis, (first, _) in zip(form.split("-"), _AXES_POINT, strict=True)]
    turned = vectors * np.array(signs, np.float32)
    sentence = f"{file.name} has normals whose {FORMS[form]}: {why}"
    value: ByteArray = np.rint((turned + 1) * 127.5).clip(0, 255).astype(np.uint8)
    if form == _OF_ITEMS and not is_npy(file):  # as it is, like items, whose vectors depend on every level
        value = decode_normal(file.again())
    return Reading(value, Understood(file.name, form, sure, sentence))


def _vectors(file: Encoded) -> FloatArray:
    """Float32 (H, W, 3) of length 1, or 0 where there is no normal. Raises `BadMap` for what holds no normals."""
    if is_npy(file):
        stored = read_npy(file, _AXES)
    else:
        image = load_picture(file)
        if image.mode not in ("RGB", "RGBA", "P"):
            raise BadMap(f"{file.name} is a picture of kind {image.mode}; normals have three numbers a pixel (RGB)")
        stored = np.asarray(image.convert("RGB"))
    if stored.shape[0] == 3 and stored.shape[2] != 3:  # channels first, as PyTorch has them
        stored = np.moveaxis(stored, 0, 2)
    if stored.shape[2] != 3:
        raise BadMap(f"{file.name} has {stored.shape[2]} numbers a pixel; a normal has three")
    with np.errstate(over="ignore", invalid="ignore"):
        values = picked(stored, file.side).astype(np.float32)
    known = np.isfinite(values).all(axis=2) & (values != 0).any(axis=2)
    values = np.where(known[..., None], values, np.float32(0))
    vectors = np.where(known[..., None], _unpacked(stored.dtype, values), np.float32(0))
    lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
    fits = (lengths > _SHORT) & (lengths < _LONG)
    if fits.sum() < _UNIT * max(int(known.sum()), 1):
        raise BadMap(f"{file.name} holds no normals: most of its pixels are no vectors of length 1")
    return np.where(fits, vectors / np.where(fits, lengths, 1), 0).astype(np.float32)


def _unpacked(dtype: np.dtype[np.generic], values: FloatArray) -> FloatArray:
    """The numbers in [-1, 1]: whole ones fill 8 or 16 bits, others are as they are or fill [0, 1]."""
    if dtype.kind in "iu":
        full = 255 if values.max() <= 255 else 65535
        return values * np.float32(2 / full) - np.float32(1)
    return values if values.min() < 0 else values * 2 - 1


def _guess(vectors: FloatArray) -> tuple[str, float, str]:
    rows, columns = len(vectors) // 3 or 1, vectors.shape[1] // 3 or 1
    bottom, left, right = vectors[-rows:, :, 1], vectors[:, :columns, 0], vectors[:, -columns:, 0]
    # What speaks for the first way of each axis, and how often that is right.
    evidence = float(left.mean() - right.mean()), float(bottom.mean()), float(vectors[:, :, 2].mean())
    sure = 0.95 * 0.95 * 0.99
    form = "-".join(pair[value < 0] for pair, value in zip(_AXES_POINT, evidence, strict=True))
    return form, sure, "what a camera sees faces it, floors face up, and the sides of a picture face each other"
