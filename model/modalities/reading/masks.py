"""The part of a picture that a mask covers, as a picture of its own."""

from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from anyseek.model.modalities.reading.decode import decode, known_modality
from anyseek.model.modalities.reading.encoded import FileLimits
from anyseek.model.modalities.reading.errors import BadRegion
from anyseek.model.modalities.reading.understanding import understand
from anyseek.model.modalities.reading.understood import Reading, Understood
from anyseek.model.modalities.registry import Content
from anyseek.model.seam import Regions

MASK = "mask"

Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.uint8]


def understand_masked(
    modality: str, data: bytes, limits: FileLimits, name: str, mask: bytes, form: str | None = None
) -> Reading:
    """What a mask covers of the upright picture in `data`, cut out, on the mean of its own colours: uint8 (H, W, 3).

    `mask` is a PNG of numbers or an NPY array (h, w) with the proportions of the picture; what is not 0 counts. Raises
    as `understand` does, and `BadRegion` for a modality that is no picture, an empty mask and one of other proportions.
    """
    kind = known_modality(modality)
    if kind.content is not Content.PICTURE:
        raise BadRegion(f"{name} is {kind.name} and has a mask; a mask is of a picture, such as rgb")
    inside = _read(mask, limits, name)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    height, width = inside.shape
    box = left / width, top / height, right / width, bottom / height
    picture = cast(Picture, understand(modality, data, limits, name, None, form, box).value)
    _check_proportions(picture, (right - left) / width, (bottom - top) / height, inside, name)
    covered = _scaled(inside[top:bottom, left:right], picture.shape[1], picture.shape[0])
    sentence = f"{_share(inside)} of {name} is used, where its mask is not 0"
    return Reading(_on_its_mean(picture, covered), Understood(name, MASK, 1.0, sentence))


def _read(mask: bytes, limits: FileLimits, name: str) -> Mask:
    regions = decode("semseg", mask, limits, f"the mask of {name}")
    assert isinstance(regions, Regions)
    inside: Mask = np.asarray(regions.ids != 0)
    if not inside.any():
        raise BadRegion(f"the mask of {name} is 0 everywhere; what is not 0 counts")
    return inside


def _check_proportions(picture: Picture, wide: float, high: float, inside: Mask, name: str) -> None:
    """Raises `BadRegion` if the picture that was cut out cannot be that share of one with the mask's proportions."""
    height, width = picture.shape[:2]
    whole, of_mask = width / wide * high / height, inside.shape[1] / inside.shape[0]
    rounding = 0.02 + 2 / min(height, width)
    if abs(np.log(whole / of_mask)) > rounding:
        size = f"{inside.shape[1]} x {inside.shape[0]}"
        raise BadRegion(f"the mask of {name} is {size}, which are not the proportions of the picture")


def _scaled(inside: Mask, width: int, height: int) -> Mask:
    """The mask at the size of a picture; of one that is too thin for that, all that it touches."""
    shares = np.asarray(Image.fromarray(inside.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX))
    mostly: Mask = shares >= 128
    return mostly if mostly.any() else np.asarray(shares > 0)


def _share(inside: Mask) -> str:
    share = inside.mean()
    return f"only {share:.1%}" if share >= 0.0005 else "less than 0.1%"


def _on_its_mean(picture: Picture, covered: Mask) -> Picture:
    mean = np.rint(picture[covered].mean(axis=0)).astype(np.uint8)
    return np.where(covered[:, :, None], picture, mean)
