"""Running recorded cases: those of the repository, spoiled copies of them, and what no checker knows."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tests.golden.cases import find_cases
from tests.golden.checkers import CheckOptions
from tests.golden.runner import check_case, check_directory
from tests.golden.spoiling import GOLDEN, OPTIONS, check, copy, spoil

LARGE = {
    "vq_mlp_dinov2_global_real",
    "vq_mlp_imagebind_global_real",
    "vq_mlp_human_poses_real",
    "vq_divae_rgb_small",
}


def _param(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name


@pytest.mark.parametrize("name", [_param(case.name) for case in find_cases(GOLDEN)])
def test_recorded_case(name: str) -> None:
    if name == "text_formats" and OPTIONS.vocabulary is None:
        pytest.skip("the published vocabulary is not beside the project")
    report = check(GOLDEN, name)
    assert report.ok, report.reason
    assert report.integers_equal


def test_the_cases_of_the_repository() -> None:
    names = {case.name for case in find_cases(GOLDEN)}
    assert {"fm_tiny21.forward", "fm_tiny21.global_logits", "fm_tiny7_gelu.forward", "4M-21_XL"} < names
    assert {"vq_vit_clip_small", "vq_vit_sam_small", "vq_vit_semseg_small", "rgb_16k_224-448"} < names
    assert {"fm_tiny21.traces", "schedules", "text_formats", "misc"} < names
    assert names > LARGE
    assert len(names) >= 30


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
    case = copy("fm_tiny7_gelu.forward", tmp_path)
    spoil(case, array, change)
    report = check(tmp_path, "fm_tiny7_gelu.forward")
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
    case = copy("vq_mlp_small", tmp_path)
    spoil(case, array, change)
    report = check(tmp_path, "vq_mlp_small")
    assert not report.ok
    assert array in report.reason
    assert report.integers_equal is integers_equal


def test_an_image_tokenizer_with_wrong_numbers_fails(tmp_path: Path) -> None:
    case = copy("vq_vit_sam_small", tmp_path)
    for array, change in (("m64/tokens", 1), ("m64/quant", 2e-4), ("m64/decoded_strided", 1)):
        spoil(case, array, change)
    report = check(tmp_path, "vq_vit_sam_small")
    assert not report.ok
    assert report.integers_equal is False
    for array in ("m64/tokens", "m64/quant", "m64/decoded_strided"):
        assert f"{array} " in report.reason


@pytest.mark.slow
def test_a_diffusion_with_wrong_numbers_fails(tmp_path: Path) -> None:
    case = copy("vq_divae_rgb_small", tmp_path)
    with np.load(case) as file:
        kept = {name: file[name] for name in ("tokens", "margin", "quant", "unet_t500", "ddim4_linspace", "ddpm3")}
    np.savez(case, **kept)
    for array in ("unet_t500", "ddim4_linspace", "ddpm3"):
        spoil(case, array, 2e-3)
    report = check(tmp_path, "vq_divae_rgb_small")
    assert not report.ok
    assert report.integers_equal
    for array in ("unet_t500", "ddim4_linspace", "ddpm3"):
        assert f"{array} differs" in report.reason


def test_a_case_under_another_name_is_run_by_its_manifest(tmp_path: Path) -> None:
    copy("fm_tiny7_gelu.forward", tmp_path)
    for path in tmp_path.glob("fm_tiny7_gelu.*"):
        path.rename(tmp_path / path.name.replace("fm_tiny7_gelu", "other"))
    entry = json.loads((GOLDEN / "fm_manifest.json").read_text())["fm_tiny7_gelu.forward"]
    (tmp_path / "fm_manifest.json").write_text(json.dumps({"other.forward": entry}))
    report = check(tmp_path, "other.forward")
    assert report.ok, report.reason


def test_a_tensor_of_another_shape_fails_its_keys(tmp_path: Path) -> None:
    document = json.loads(gzip.decompress((GOLDEN / "keys/4M-7_B.json.gz").read_bytes()))
    document["keys"]["mask_token"]["shape"] = [1, 1, 8]
    document["keys"]["encoder.0.norm1.bias"]["kind"] = "param"
    del document["keys"]["decoder_norm.weight"]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/small.json").write_text(json.dumps(document))
    report = check(tmp_path, "small")
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
    case = copy("vq_mlp_small", tmp_path)
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
