"""Whether two pictures are the same one: rescaled, compressed again, brighter, or cropped a little.

A model's vectors say that two pictures show the same kind of thing. Here the pictures themselves are compared, small:
the normalised cross-correlation (Lewis 1995, "Fast normalized cross-correlation") of all of one with windows of the
other, in colour. Each pixel counts as far as it differs from those around it. So brightness, contrast and a colour that
is everywhere do not count, and neither do large plain areas, which scenes of one kind share.
"""

import numpy as np
from PIL import Image

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import FloatArray

_SIDE = 16  # of what is compared
_TINY = 4  # the side of a glance
_READ_AT = 64  # the side at which windows are cut
# The parts of a side that a window may be: all of it first, then what is left when up to a fifth is cut off.
_SPANS = ((0.0, 1.0), (0.0, 0.9), (0.05, 0.95), (0.1, 1.0), (0.0, 0.8), (0.1, 0.9), (0.2, 1.0))
_AROUND = 2  # how many pixels on each side are around one
_FAINT = 1.0  # a picture that differs less, of 255, shows nothing that could be compared


def _sampling() -> FloatArray:
    """By span, how much each pixel of a side counts in each of fewer: (spans, 16, 64), rows add up to 1."""
    edges = np.arange(_READ_AT + 1) / _READ_AT
    rows = []
    for start, end in _SPANS:
        cuts = start + (end - start) * np.arange(_SIDE + 1) / _SIDE
        overlap = np.minimum(cuts[1:, None], edges[None, 1:]) - np.maximum(cuts[:-1, None], edges[None, :-1])
        rows.append(np.maximum(overlap, 0) / (cuts[1] - cuts[0]))
    return np.stack(rows).astype(np.float32)


_SAMPLING = _sampling()


def glance(picture: Image.Image) -> FloatArray:
    """An RGB picture at a glance, a unit vector float32 (48,), zero for a plain one.

    Its inner product with that of another says quickly, and roughly, whether the two can be alike.
    """
    tiny = np.asarray(picture.resize((_TINY, _TINY), Image.Resampling.BOX), np.float32)
    row = (tiny - tiny.mean(axis=(0, 1))).ravel()
    unit: FloatArray = row / max(float(np.linalg.norm(row)), _FAINT)
    return unit


def views(picture: ByteArray) -> FloatArray:
    """What is compared of a picture uint8 (H, W, 3): unit rows float32 (49, 768), the whole first, then its windows.

    The row of a window that shows nothing is zero.
    """
    small = np.asarray(Image.fromarray(picture).resize((_READ_AT, _READ_AT), Image.Resampling.BOX), np.float32)
    across = np.tensordot(_SAMPLING, small, axes=(2, 1))  # (spans, 16, 64, 3)
    # Every span down with every span across: (spans, 16, spans, 16, 3).
    both = np.tensordot(_SAMPLING, across, axes=(2, 2))
    windows = both.transpose(0, 2, 1, 3, 4).reshape(-1, _SIDE, _SIDE, 3)
    rows = (windows - _means_around(windows)).reshape(len(windows), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    shows = lengths > _FAINT * np.sqrt(rows.shape[1])
    unit: FloatArray = np.where(shows, rows / np.maximum(lengths, 1e-6), 0).astype(np.float32)
    return unit


def likeness(one: FloatArray, other: FloatArray) -> float:
    """How alike two pictures are, given their `views`: at most 1, the best of each whole with the other's windows."""
    return min(1.0, float(max((other @ one[0]).max(), (one @ other[0]).max())))


def _means_around(windows: FloatArray) -> FloatArray:
    """The mean of the pixels around each one, (n, 16, 16, 3); beyond the edge lie those at the edge."""
    reach = 2 * _AROUND + 1
    wide = np.pad(windows, ((0, 0), (_AROUND, _AROUND), (_AROUND, _AROUND), (0, 0)), mode="edge")
    down = np.mean([wide[:, start : start + _SIDE] for start in range(reach)], axis=0)
    means: FloatArray = np.mean([down[:, :, start : start + _SIDE] for start in range(reach)], axis=0)
    return means
