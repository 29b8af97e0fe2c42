"""Near-duplicate similarity of pictures that were rescaled, compressed again, brightened or cropped a little.

A model's vectors say that two pictures show the same kind of thing. This compares the pictures themselves, downscaled:
the normalised cross-correlation (Lewis 1995, "Fast normalized cross-correlation") of one picture with windows of the
other, in colour. The local mean is subtracted from each pixel. So brightness, contrast and a colour cast do not count,
and neither do large plain areas, which scenes of one kind share.
"""

import numpy as np
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray

_WINDOW_SIDE = 16  # of what is compared
_THUMBNAIL_SIDE = 4
_IMAGE_SIDE = 64  # the side from which windows are cut
# The spans of a side that windows cover: all of it first, then what remains when up to a fifth is cropped.
_WINDOW_SPANS = ((0.0, 1.0), (0.0, 0.9), (0.05, 0.95), (0.1, 1.0), (0.0, 0.8), (0.1, 0.9), (0.2, 1.0))
_RADIUS = 2  # of the window of the local mean, in pixels
_MIN_CONTRAST = 1.0  # the least deviation, of 255, of a picture or window that can be compared


def _sampling_weights() -> FloatArray:
    """Resampling weights by span, from 64 pixels of a side to 16: (spans, 16, 64), rows add up to 1."""
    edges = np.arange(_IMAGE_SIDE + 1) / _IMAGE_SIDE
    rows = []
    for start, end in _WINDOW_SPANS:
        cuts = start + (end - start) * np.arange(_WINDOW_SIDE + 1) / _WINDOW_SIDE
        overlap = np.minimum(cuts[1:, None], edges[None, 1:]) - np.maximum(cuts[:-1, None], edges[None, :-1])
        rows.append(np.maximum(overlap, 0) / (cuts[1] - cuts[0]))
    return np.stack(rows).astype(np.float32)


_SAMPLING_WEIGHTS = _sampling_weights()


def thumbnail_vector(picture: Image.Image) -> FloatArray:
    """A thumbnail of an RGB picture as a unit vector float32 (48,), zero for a plain picture.

    The inner product of two is a quick, rough test of whether the pictures can be similar.
    """
    tiny = np.asarray(picture.resize((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), Image.Resampling.BOX), np.float32)
    row = (tiny - tiny.mean(axis=(0, 1))).ravel()
    unit: FloatArray = row / max(float(np.linalg.norm(row)), _MIN_CONTRAST)
    return unit


def image_vectors(picture: ByteArray) -> FloatArray:
    """Vectors of a picture uint8 (H, W, 3) and its windows: unit rows float32 (49, 768), the whole picture first.

    The row of a window without contrast is zero.
    """
    small = np.asarray(Image.fromarray(picture).resize((_IMAGE_SIDE, _IMAGE_SIDE), Image.Resampling.BOX), np.float32)
    across = np.tensordot(_SAMPLING_WEIGHTS, small, axes=(2, 1))  # (spans, 16, 64, 3)
    # Every span down with every span across: (spans, 16, spans, 16, 3).
    both = np.tensordot(_SAMPLING_WEIGHTS, across, axes=(2, 2))
    windows = both.transpose(0, 2, 1, 3, 4).reshape(-1, _WINDOW_SIDE, _WINDOW_SIDE, 3)
    rows = (windows - _local_means(windows)).reshape(len(windows), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    shows = lengths > _MIN_CONTRAST * np.sqrt(rows.shape[1])
    unit: FloatArray = np.where(shows, rows / np.maximum(lengths, 1e-6), 0).astype(np.float32)
    return unit


def image_similarity(first: FloatArray, second: FloatArray) -> float:
    """The similarity, at most 1, of two `image_vectors`: the highest of each whole picture with the other's windows."""
    return min(1.0, float(max((second @ first[0]).max(), (first @ second[0]).max())))


def _local_means(windows: FloatArray) -> FloatArray:
    """The mean of the pixels around each one, (n, 16, 16, 3), with edge padding."""
    reach = 2 * _RADIUS + 1
    wide = np.pad(windows, ((0, 0), (_RADIUS, _RADIUS), (_RADIUS, _RADIUS), (0, 0)), mode="edge")
    down = np.mean([wide[:, start : start + _WINDOW_SIDE] for start in range(reach)], axis=0)
    means: FloatArray = np.mean([down[:, :, start : start + _WINDOW_SIDE] for start in range(reach)], axis=0)
    return means
