"""Kind `misc`: rows of position tables, and preprocessing of published checkpoints."""

import re

import numpy as np
from torch import Tensor

from anyseek.model.fourm.images import (
    Crop,
    centre_crop,
    crop_and_resize,
    flip_normals,
    normalise,
    standardise,
    to_signed,
    trimmed_values,
)
from anyseek.model.network.modality_embeddings import sincos_1d, sincos_2d
from tests.golden.cases import Arrays, Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison

_TABLE_TOLERANCE = 1e-5
_FLOAT_TOLERANCE = 1e-5
_LEVELS = 1  # versions of Pillow differ by this much
_LINE = re.compile(r"pos1d_(\d+)x(\d+)_rows")
_GRID = re.compile(r"pos2d_(\d+)x(\d+)x(\d+)")


class MiscChecker:
    """Compares what the arrays are named after."""

    def accepts(self, case: Case) -> bool:
        """Arrays of position tables or under `pre/`, with no network of their own."""
        return case.tag is None and any(name.startswith(("pos1d_", "pos2d_", "pre/")) for name in case.arrays)

    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare position tables and every step of preprocessing that was recorded."""
        result = Comparison()
        for name in case.arrays:
            _compare_table(result, case.arrays, name)
        if "pre/rgb_in" in case.arrays:
            _compare_rgb(result, case.arrays)
        if "pre/rgb_crop" in case.arrays:
            _compare_crop(result, case.arrays)
        if "pre/normal_tensor_strided" in case.arrays:
            _compare_normals(result, case.arrays)
        if "pre/depth_u16" in case.arrays:
            depth = case.arrays["pre/depth_u16"].astype(np.float32) / np.float32(65535)
            depth = standardise(depth, trimmed_values(depth))[None]
            result.close("depth_standardized", depth, case.arrays["pre/depth_standardized"], _FLOAT_TOLERANCE)
        return result


def _compare_table(result: Comparison, arrays: Arrays, name: str) -> None:
    if match := _LINE.fullmatch(name):
        table = sincos_1d(*map(int, match.groups()))[0]
        # which rows were recorded is not said; each must be one of the table's, in order
        rows = [_nearest_row(table, row) for row in arrays[name]]
        result.agree(name, rows == sorted(set(rows)), f"the rows {rows} are not in order")
        result.close(name, table[rows], arrays[name], _TABLE_TOLERANCE)
    elif match := _GRID.fullmatch(name):
        table = sincos_2d(*map(int, match.groups()))[0]
        result.close(name, table[arrays[f"{name}_idx"]], arrays[name], _TABLE_TOLERANCE)


def _nearest_row(table: Tensor, row: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> int:
    return int(np.abs(table.numpy() - row).max(axis=1).argmin())


def _compare_rgb(result: Comparison, arrays: Arrays) -> None:
    picture, pixels = arrays["pre/rgb_in"], arrays["pre/rgb_centercrop224_u8_strided"]
    cropped = crop_and_resize(picture, centre_crop(*picture.shape[:2]), 224)
    result.close("rgb_centercrop224_u8", cropped[::16, ::16], pixels, _LEVELS)
    # from the recorded pixels, so that a level of Pillow's does not hide a wrong constant
    result.close("rgb_centercrop224", normalise(pixels), arrays["pre/rgb_centercrop224_strided"], _FLOAT_TOLERANCE)
    result.close("rgb_minus1_1", to_signed(pixels), arrays["pre/rgb_minus1_1_strided"], _FLOAT_TOLERANCE)


def _compare_crop(result: Comparison, arrays: Arrays) -> None:
    crop = Crop(*arrays["pre/rgb_crop"].tolist())
    flipped = crop_and_resize(arrays["pre/rgb_in"], crop, 64)[:, ::-1]
    result.close("rgb_crop_flip64", flipped[::4, ::4], arrays["pre/rgb_crop_flip64_u8_strided"], _LEVELS)


def _compare_normals(result: Comparison, arrays: Arrays) -> None:
    pixels = arrays["pre/normal_flipped_u8_strided"]
    result.equal("normal_flipped_u8", flip_normals(arrays["pre/rgb_in"])[::4, ::4], pixels)
    result.close("normal_tensor", to_signed(pixels), arrays["pre/normal_tensor_strided"], _FLOAT_TOLERANCE)


CHECKER = MiscChecker()
