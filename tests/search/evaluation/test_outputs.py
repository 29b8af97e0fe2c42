"""Measures of predictions, against what one computes by hand."""

from collections.abc import Mapping

import numpy as np
import pytest

from anyseek.model.data.aligned import AlignedSet
from anyseek.model.modalities.formats.metadata import Metadata
from anyseek.model.seam import Regions, Sample, Value
from anyseek.search.errors import NotAligned
from anyseek.search.evaluation.outputs import (
    RegionOverlap,
    depth_error,
    edge_overlap,
    measure_outputs,
    metadata_error,
    normal_error,
    palette_error,
    resample_to,
    to_lab,
    word_overlap,
)


def test_words_count_as_often_as_both_have_them() -> None:
    assert word_overlap("a red chair", "a red red table") == {"word_f1": pytest.approx(4 / 7)}
    assert word_overlap("A chair", "a chair") == {"word_f1": 1.0}
    assert word_overlap("", "a chair") == {"word_f1": 0.0}


def test_colours_are_matched_as_well_as_can_be() -> None:
    black, white, grey = [0, 0, 0], [255, 255, 255], [119, 119, 119]
    assert palette_error(np.array([black, white]), np.array([white, black]))["lab_distance"] == pytest.approx(0)
    lightness = float(to_lab(np.array([grey]))[0, 0])
    # white goes to white, so black has grey alone; the third colour has no partner
    assert palette_error(np.array([white, black]), np.array([grey, white]))["lab_distance"] == pytest.approx(
        lightness / 2, abs=0.01
    )
    assert palette_error(np.array([white]), np.array([grey, white]))["lab_distance"] == pytest.approx(0)
    assert palette_error(np.zeros((0, 3), np.uint8), np.array([white])) == {}


def test_depth_has_any_scale_and_shift() -> None:
    true = np.array([[1.0, 2.0], [3.0, np.nan]], np.float32)
    perfect = depth_error(np.array([[7.0, 9.0], [11.0, 0.0]], np.float32), true)
    assert perfect["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert perfect["delta_1.25"] == 1.0
    # a constant is fitted by the mean, 2: off by 1 of 1, 0 of 2, 1 of 3
    flat = depth_error(np.ones((2, 2), np.float32), true)
    assert flat["abs_rel"] == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert flat["delta_1.25"] == pytest.approx(1 / 3)
    assert depth_error(np.ones((2, 2), np.float32), np.full((2, 2), np.nan, np.float32)) == {}


def test_angles_between_normals() -> None:
    def picture(*vectors: tuple[float, float, float]) -> np.ndarray:
        return np.round((np.array([vectors]) + 1) * 127.5).astype(np.uint8)

    up, right, front = (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    found = normal_error(picture(up, up, front), picture(up, right, front))
    assert found["mean_degrees"] == pytest.approx(30, abs=0.5)
    assert found["median_degrees"] == pytest.approx(0, abs=0.5)


def test_lines_may_be_a_pixel_off_and_of_any_polarity() -> None:
    def drawn(row: int, size: int = 8) -> np.ndarray:
        sheet = np.zeros((size, size), np.uint8)
        sheet[row, 1:-1] = 255
        return sheet

    assert edge_overlap(drawn(3), 255 - drawn(3)) == {"edge_f1": pytest.approx(1)}
    assert edge_overlap(drawn(4), drawn(3)) == {"edge_f1": pytest.approx(1)}
    assert edge_overlap(drawn(5), drawn(3)) == {"edge_f1": pytest.approx(0)}
    assert edge_overlap(drawn(3), drawn(6, 16))["edge_f1"] == pytest.approx(1)  # on the grid of the prediction
    both = np.maximum(drawn(1), drawn(5))
    assert edge_overlap(both, drawn(1))["edge_f1"] == pytest.approx(2 / 3)  # half is right, all is found
    assert edge_overlap(drawn(1), both)["edge_f1"] == pytest.approx(2 / 3)
    wide = np.pad(drawn(3), ((0, 0), (4, 4)))
    assert edge_overlap(drawn(3), wide)["edge_f1"] == pytest.approx(1)  # the centre
    blank = np.zeros((8, 8), np.uint8)
    assert edge_overlap(blank, drawn(3)) == {"edge_f1": 0.0}
    assert edge_overlap(drawn(3), blank) == {}


def test_metadata_is_right_in_the_same_bin() -> None:
    true = Metadata({"brightness": 100.0, "n_humans": 2, "contrast": 40.0, "entropy": 5.0})
    found = metadata_error(Metadata({"brightness": 101.0, "n_humans": 3, "contrast": 40.0}), true)
    assert found == {"fields": 0.75, "same_bin": 0.5}
    assert metadata_error(true, Metadata({})) == {}


def test_a_map_is_cut_to_its_centre() -> None:
    wide = np.tile(np.arange(6), (2, 1))
    np.testing.assert_array_equal(resample_to(wide, (2, 2)), [[2, 3], [2, 3]])
    np.testing.assert_array_equal(resample_to(np.arange(16).reshape(4, 4), (2, 2)), [[5, 7], [13, 15]])
    np.testing.assert_array_equal(resample_to(np.array([[1, 2]]), (2, 4)), [[1, 1, 2, 2], [1, 1, 2, 2]])


def test_overlap_of_regions_by_name() -> None:
    overlap = RegionOverlap()
    assert overlap.mean() is None
    true = Regions(np.array([[0, 0, 1, 2]]), {0: "Wall-other-merged", 1: "sofa"})
    said = Regions(np.array([[5, 9, 9, 9]]), {5: "wall", 9: "sofa"})
    overlap.add(said, true)
    found = overlap.mean()
    # the last pixel has no name in the truth; wall 1 of 2, sofa 1 of 2
    assert found.value == pytest.approx(0.5)
    overlap.add(true, true)
    again = overlap.mean()
    assert again.value == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found.value - 1e-9 <= again.low <= again.value <= again.high <= 1.0


def _things(count: int) -> AlignedSet:
    samples = [
        Sample({"rgb": np.full((4, 4, 3), n, np.uint8), "caption": f"thing {n}", "depth": np.full((4, 4), 1.0 + n)})
        for n in range(count)
    ]
    return AlignedSet("things", tuple(map(str, range(count))), [*samples, Sample({"caption": "no picture"})][:count])


def _says_its_number(inputs: Mapping[str, Value], target: str) -> Value:
    assert set(inputs) == {"rgb"}, "what is known of the target is not given"
    number = int(np.asarray(inputs["rgb"]).flat[0])
    return f"thing {number if number % 2 else 'x'}"


def test_what_is_known_and_predicted_is_measured() -> None:
    found = measure_outputs(_things(4), frozenset({"caption", "metadata"}), _says_its_number, lambda line: None)
    (row,) = found.rows
    assert (row.modality, row.measure, row.things) == ("caption", "word_f1", 4)
    assert row.value.value == pytest.approx((0.5 + 1 + 0.5 + 1) / 4)
    with pytest.raises(NotAligned, match="no rgb with metadata that the model predicts"):
        measure_outputs(_things(4), frozenset({"metadata", "visual_global"}), _says_its_number, lambda line: None)


def test_things_are_predicted_from_what_is_asked_for_and_not_from_what_is_to_be_predicted() -> None:
    told: list[tuple[set[str], str]] = []

    def says(inputs: Mapping[str, Value], target: str) -> Value:
        told.append((set(inputs), target))
        return "a thing"

    known = frozenset({"caption", "depth"})
    found = measure_outputs(_things(2), known, says, lambda line: None, given=("rgb", "depth"))
    assert told == [({"rgb", "depth"}, "caption")] * 2
    assert (found.given, [row.modality for row in found.rows]) == (("rgb", "depth"), ["caption"])
    with pytest.raises(NotAligned, match=r"no rgb \+ normal with caption, depth that"):
        measure_outputs(_things(2), known, says, lambda line: None, given=("rgb", "normal"))
