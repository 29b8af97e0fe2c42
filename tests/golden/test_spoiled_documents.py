"""Schedules, formats, preprocessing and traces with one wrong entry do not pass."""

import json
from pathlib import Path

import pytest

from tests.golden.checkers import CheckOptions
from tests.golden.runner import check_directory
from tests.golden.spoiling import GOLDEN, OPTIONS, check, copy, spoil, spoil_json


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("cosine", 1, "out", 0), 3),
        (("temp_linear", "out", 0), 3.1),
        (("temp_onex", 0, "out", 0), 3.1),
        (("filter", "cases", 2, "kept", 0, 0), 2),
        (("alphas_cumprod", "linear|zsnr=True", "0"), 0.5),
        (("timesteps", "ddpm|4|any", "n"), 5),
        (("modality_ids", "caption"), 1),
        (("metadata_parse", "parsed", "dim"), 768.0),
        (("novelty",), 1),
    ],
)
def test_one_wrong_entry_of_the_schedules_fails(tmp_path: Path, place: tuple[str | int, ...], value: object) -> None:
    spoil_json(tmp_path, "schedules", *place, value=value)
    report = check(tmp_path, "schedules")
    assert not report.ok
    assert str(place[0]) in report.reason


@pytest.mark.skipif(OPTIONS.vocabulary is None, reason="the published vocabulary is not beside the project")
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("caption", 0, "ids", 0), 1),
        (("metadata", 1, "chunks", 0), "v1=0 v0=998"),
        (("det", "text"), ""),
        (("color_palette", 0, "ids", 0), 1),
        (("human_poses", "permutations", 0), [0, 1, 2, 3]),
        (("sam_instance", "points", 0, "point_x"), 51),
        (("span_masking", 0, "masked", 0), 1),
        (("sequence_layout", 3, "tensor", 9), 1),
        (("custom_text", 0, "input_mask", 0), 1),
        (("empty_target_seq", "tensor", 5), 7),
        (("novelty",), 1),
    ],
)
def test_one_wrong_entry_of_the_formats_fails(tmp_path: Path, place: tuple[str | int, ...], value: object) -> None:
    spoil_json(tmp_path, "text_formats", *place, value=value)
    report = check(tmp_path, "text_formats")
    assert not report.ok
    assert str(place[0]).replace("_masking", "") in report.reason


def test_formats_without_the_vocabulary_say_so() -> None:
    (report,) = check_directory(GOLDEN, CheckOptions(), "text_formats")
    assert "--vocabulary" in report.reason


@pytest.mark.parametrize(
    ("array", "change", "integers_equal"),
    [
        ("pos1d_512x64_rows", 1e-3, True),
        ("pos2d_4x4x64", 1e-3, True),
        ("pre/rgb_centercrop224_u8_strided", 3, True),
        ("pre/rgb_minus1_1_strided", 1e-3, True),
        ("pre/rgb_crop", 20, True),
        ("pre/depth_standardized", 1e-3, True),
        ("pre/normal_flipped_u8_strided", 1, False),
    ],
)
def test_one_wrong_number_of_the_preprocessing_fails(
    tmp_path: Path, array: str, change: float, integers_equal: bool
) -> None:
    spoil(copy("misc", tmp_path), array, change)
    report = check(tmp_path, "misc")
    assert not report.ok
    assert report.integers_equal is integers_equal


def _keep_traces(directory: Path, *names: str) -> Path:
    """Copy the case of traces with only some of them."""
    case = copy("fm_tiny21.traces", directory)
    traces = [trace for trace in json.loads(case.with_suffix(".json").read_text()) if trace["name"] in names]
    case.with_suffix(".json").write_text(json.dumps(traces))
    return case


def test_traces_with_wrong_numbers_fail(tmp_path: Path) -> None:
    case = _keep_traces(tmp_path, "roar2_cfg_greedy", "ar_metadata_infill_greedy")
    wrong = [
        "roar2_cfg_greedy/pass01/positions",
        "roar2_cfg_greedy/pass03/argmax",
        "roar2_cfg_greedy/out/tok_dinov2_global/tensor",
        "ar_metadata_infill_greedy/out/metadata/tensor",
        "ar_metadata_infill_greedy/out/metadata/input_mask",
    ]
    for array in wrong:
        spoil(case, array, 1)
    report = check(tmp_path, "fm_tiny21.traces")
    complained = {complaint.removesuffix(" is not equal") for complaint in report.reason.split("; ")}
    assert complained == set(wrong)
    assert report.integers_equal is False


def test_a_trace_that_asked_for_something_else_fails(tmp_path: Path) -> None:
    case = _keep_traces(tmp_path, "roar2_cfg_greedy")
    (trace,) = json.loads(case.with_suffix(".json").read_text())
    trace |= {"forward_passes": 3, "min_margin": 0.5}
    trace["schedule"][0] |= {"num_tokens": 7, "cfg_scale": 3.0}
    trace["schedule"][1] |= {"temperature": 1.0, "cfg_cond_domains": ["det"]}
    case.with_suffix(".json").write_text(json.dumps([trace]))
    reason = check(tmp_path, "fm_tiny21.traces").reason
    for complaint in ("passes", "min_margin", "numbers of tokens", "weights", "temperatures", "conditions"):
        assert complaint in reason
