"""Scaling all pictures and maps of a sample down together, each in the way that keeps its values meaningful."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from model.data.samples import DataSample
from model.drawing import ByteArray
from model.embedder import Regions
from model.modality import DECLARED, Content

Shape = tuple[int, int]  # height, width


def fitted(sample: DataSample, size: int) -> DataSample:
    """The sample with no short side above `size` pixels; smaller ones stay as they are, proportions too."""
    values = {modality: _fit(modality, value, size) for modality, value in sample.values.items()}
    return replace(sample, values=values)


def _fit(modality: str, value: Any, size: int) -> Any:
    if modality not in _SCALED:
        return value
    height, width = (value.ids if isinstance(value, Regions) else value).shape[:2]
    scale = size / min(height, width)
    if scale >= 1:
        return value
    return _SCALED[modality](value, (max(round(height * scale), size), max(round(width * scale), size)))


def _blend(picture: ByteArray, shape: Shape) -> ByteArray:
    return np.asarray(Image.fromarray(picture).resize(shape[::-1], Image.Resampling.LANCZOS))


def _mean(drawing: ByteArray, shape: Shape) -> ByteArray:
    return np.asarray(Image.fromarray(drawing).resize(shape[::-1], Image.Resampling.BOX))


def _pick(values: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """The value in the middle of each new pixel: measurements and ids are never blended."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, values.shape, strict=True)
    )
    picked: npt.NDArray[Any] = values[rows[:, None], columns]
    return picked


def _pick_ids(regions: Regions, shape: Shape) -> Regions:
    return Regions(_pick(regions.ids, shape), regions.classes)


_OF_CONTENT = {Content.PICTURE: _blend, Content.DRAWING: _mean, Content.DEPTH: _pick}
_SCALED: Mapping[str, Callable[[Any, Shape], Any]] = {
    "rgb": _blend,
    "normal": _mean,
    **dict.fromkeys(("canny_edge", "soft_edge", "line_drawing"), _mean),
    "depth": _pick,
    "semseg": _pick_ids,
    "instances": _pick_ids,
    **{name: _OF_CONTENT[modality.content] for name, modality in DECLARED.items()},
}
