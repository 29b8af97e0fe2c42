"""Running recorded cases: those of the repository, spoiled copies of them, and what no checker knows."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.golden.cases import find_cases
from model.golden.checkers import CheckOptions
from model.golden.runner import CaseReport, check_case, check_directory

GOLDEN = Path(__file__).parents[2] / "golden"
LARGE = {"vq_mlp_dinov2_global_real", "vq_mlp_imagebind_global_real", "vq_mlp_human_poses_real"}


def _param(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name


def _check(directory: Path, name: str) -> CaseReport:
    (report,) = check_directory(directory, CheckOptions(), name)
    return report


@pytest.mark.parametrize("name", [_param(case.name) for case in find_cases(GOLDEN)])
def test_recorded_case(name: str) -> None:
    report = _check(GOLDEN, name)
    assert report.ok, report.reason
    assert report.integers_equal


def test_the_cases_of_the_repository() -> None:
    names = {case.name for case in find_cases(GOLDEN)}
    assert {"fm_tiny21.forward", "fm_tiny21.global_logits", "fm_tiny7_gelu.forward", "4M-21_XL"} < names
    assert names > LARGE
    assert len(names) == 17


def _copy(name: str, to: Path) -> Path:
    """Copy a case and what lies beside it; returns the copied case."""
    tag = name.split(".")[0]
    for path in [*GOLDEN.glob("*_manifest.json"), *GOLDEN.glob(f"{tag}.*")]:
        shutil.copy(path, to)
    return to / f"{name}.npz"


def _spoil(case: Path, array: str, change: float) -> None:
    with np.load(case) as file:
        arrays: dict[str, Any] = {key: file[key] for key in file.files}
    values = arrays[array].copy()
    values.flat[0] = not values.flat[0] if values.dtype == bool else values.flat[0] + change
    np.savez(case, **arrays | {array: values})


@pytest.mark.parametrize(
    ("array", "change", "integers_equal"),
    [
        ("enc_x0", 2e-4, True),
        ("enc_out", float("nan"), True),
        ("base/dec_y", 2e-4, True),
        ("base/mod_loss", 2e-3, True),
        ("logits/det/logits_at_cols", 2e-4, True),
        ("enc_mask", 1, False),
        ("base/sa_mask", 1, False),
        ("target_ids", 1, False),
        ("dec_mod_mask", 1, False),
    ],
)
def test_a_forward_with_one_wrong_number_fails(tmp_path: Path, array: str, change: float, integers_equal: bool) -> None:
    case = _copy("fm_tiny7_gelu.forward", tmp_path)
    _spoil(case, array, change)
    report = _check(tmp_path, "fm_tiny7_gelu.forward")
    assert not report.ok
    assert array in report.reason
    assert report.integers_equal is integers_equal


@pytest.mark.parametrize(
    ("array", "change", "integers_equal"),
    [("tokens", 1, False), ("autoencoded", 2e-4, True), ("enc_out", 2e-4, True), ("decoded_from_tokens_in", 1, True)],
)
def test_a_tokenizer_with_one_wrong_number_fails(
    tmp_path: Path, array: str, change: float, integers_equal: bool
) -> None:
    case = _copy("vq_mlp_small", tmp_path)
    _spoil(case, array, change)
    report = _check(tmp_path, "vq_mlp_small")
    assert not report.ok
    assert array in report.reason
    assert report.integers_equal is integers_equal


def test_a_case_under_another_name_is_run_by_its_manifest(tmp_path: Path) -> None:
    _copy("fm_tiny7_gelu.forward", tmp_path)
    for path in tmp_path.glob("fm_tiny7_gelu.*"):
        path.rename(tmp_path / path.name.replace("fm_tiny7_gelu", "other"))
    entry = json.loads((GOLDEN / "fm_manifest.json").read_text())["fm_tiny7_gelu.forward"]
    (tmp_path / "fm_manifest.json").write_text(json.dumps({"other.forward": entry}))
    report = _check(tmp_path, "other.forward")
    assert report.ok, report.reason


def test_a_tensor_of_another_shape_fails_its_keys(tmp_path: Path) -> None:
    document = json.loads(gzip.decompress((GOLDEN / "keys/4M-7_B.json.gz").read_bytes()))
    document["keys"]["mask_token"]["shape"] = [1, 1, 8]
    document["keys"]["encoder.0.norm1.bias"]["kind"] = "param"
    del document["keys"]["decoder_norm.weight"]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/small.json").write_text(json.dumps(document))
    report = _check(tmp_path, "small")
    assert not report.ok
    assert report.integers_equal is False
    for name in ("mask_token", "encoder.0.norm1.bias", "decoder_norm.weight"):
        assert name in report.reason


def test_what_cannot_be_run_says_why(tmp_path: Path) -> None:
    np.savez(tmp_path / "stranger.npz", a=np.zeros(1))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut short")
    (tmp_path / "fm_manifest.json").write_text(json.dumps({"broken": {"cls": "VQVAE", "emb_shape": [1, 2, 1, 1]}}))
    (tmp_path / "broken.config.json").write_text(json.dumps({"enc_type": "vit_b_enc", "quant_type": "memcodes"}))
    reports = {report.case: report for report in check_directory(tmp_path, CheckOptions())}
    assert reports.keys() == {"stranger", "broken"}
    assert all(not report.ok and report.max_abs_err is None for report in reports.values())
    assert "no checker" in reports["stranger"].reason
    assert "vit_b_enc" in reports["broken"].reason


def test_a_case_without_its_config_says_so(tmp_path: Path) -> None:
    case = _copy("vq_mlp_small", tmp_path)
    (tmp_path / "vq_mlp_small.config.json").unlink()
    report = check_case(find_cases(tmp_path, "vq_mlp_small")[0], CheckOptions())
    assert not report.ok
    assert "no config for vq_mlp_small" in report.reason
    assert case.is_file()


def test_files_beside_cases_are_no_cases(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for name in ("README.md", "a.config.json", "a.keys.json.gz", "a.traces.json", "a_manifest.json", "keys/index.json"):
        (tmp_path / name).write_bytes(b"")
    for name in ("a.traces.npz", "schedules.json", "text_formats.json", "keys/4M.json.gz"):
        (tmp_path / name).write_bytes(b"")
    assert [case.name for case in find_cases(tmp_path)] == ["a.traces", "schedules", "text_formats", "4M"]
