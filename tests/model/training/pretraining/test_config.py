"""The configs of 4M-21: what was published of it, and networks of the published sizes."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anyseek.model.modalities.formats.layout import Keep
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.training.pretraining.config import FieldKind, LossKind, Range, TrainingConfig, read_config
from anyseek.model.training.pretraining.masking import Masker
from anyseek.model.training.pretraining.plan import make_plan
from anyseek.model.training.run.config import Precision
from anyseek.model.training.run.errors import TrainingConfigInvalid
from tests.model.training.runs import Written
from tests.model.training.shapes import with_contrast


def test_a_config_is_read_with_its_defaults(config: dict[str, Any], written: Written, data: Path) -> None:
    read = read_config(written(config))
    assert read.mixture.weights == (1.0, 2.0)
    assert read.mixture.input_tokens == Range(least=8, most=24)
    assert read.mixture.target_tokens == Range(least=24, most=24)
    assert read.tokens_per_step == 8 * 48
    assert read.steps == 30
    assert read.data.folders[0].path == data
    assert read.batch.part == 4
    assert read.optimiser.betas == (0.9, 0.95)
    assert read.optimiser.weight_decay == 0.05
    assert read.network["dim"] == 32
    assert read.network["gated_mlp"] is True
    caption = next(modality for modality in read.modalities if modality.key == "caption")
    assert caption.kind is FieldKind.TEXT
    assert caption.format == "caption"
    assert caption.target == (1.0, 1.0)
    assert caption.keep == (Keep.RANDOM, Keep.RANDOM)
    assert caption.row == {"max_length": 16}


def test_the_rate_warms_up_in_a_line_and_falls_in_a_cosine_to_nothing(config: dict[str, Any], written: Written) -> None:
    read = read_config(written(config))
    peak = 0.1 * 8 / 256
    assert [read.rate_at(step) for step in range(4)] == pytest.approx([peak * n / 4 for n in (1, 2, 3, 4)])
    assert read.rate_at(16) == pytest.approx(peak / 2)
    assert read.rate_at(29) == pytest.approx(0.0, abs=1e-12)
    config["optimiser"]["final_share"] = 0.1
    assert read_config(written(config)).rate_at(29) == pytest.approx(peak / 10)


def _set(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for step in path[:-1]:
        config = config[step]
    config[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("seeds",), 1, "the config has no setting 'seeds'; did you mean 'seed'?"),
        (("optimiser", "betas"), [0.9, 1.0], "optimiser.betas[1] must be less than 1, not 1.0"),
        (("optimiser", "clip"), 0, "optimiser.clip must be greater than 0, not 0"),
        (("batch", "accumulation"), 3, "batch.size 8 must be a multiple of accumulation 3"),
        (("precision",), "float16", "precision must be 'float32' or 'bfloat16', not 'float16'"),
        (("average_decay",), 1.5, "average_decay must be less than or equal to 1, not 1.5"),
        (("masking", "input_tokens"), [24, 8], "masking.input_tokens must be a number or a rising pair"),
        (("masking", "weights"), [0, 0], "masking.weights must have a number above 0"),
        (("network", "size"), "huge", "network.size must be one of tiny, small, B, L, XL, not 'huge'"),
        (("network", "dim"), "wide", "network.dim must be a valid integer, not 'wide'"),
        (("network", "domains_in"), ["rgb"], "network has no setting 'domains_in'"),
        (("modalities", "rgb", "kind"), "photo", "modalities.rgb.kind must be 'picture', 'map'"),
        (("modalities", "rgb", "input"), [1, 2, 3], "modalities.rgb.input has 3 entries; masking.weights has 2"),
        (("modalities", "rgb", "target"), 1, "modalities.rgb.target is not allowed: a picture can only be an input"),
        (("modalities", "rgb"), {"kind": "picture"}, "modalities.rgb must be an input or a target"),
        (("modalities", "caption", "keep"), "some", "modalities.caption.keep[0] must be 'random', 'all' or 'binary'"),
        (("modalities", "caption", "format"), "poem", "modalities.caption.format must be one of caption"),
        (
            ("modalities", "caption", "tokenizer"),
            "x",
            "modalities.caption.tokenizer cannot be: it belongs to kind vector and tokens",
        ),
        (("data", "folders"), [], "data.folders must have a folder with a weight above 0"),
        (("text",), {}, "text must have either a vocabulary file or a number of words"),
        (("evaluation", "recall"), [{"target": "caption", "queries": [["rgb"]]}], "needs a target of kind vector"),
    ],
)
def test_what_is_wrong_is_named(
    config: dict[str, Any], written: Written, path: tuple[str, ...], value: Any, says: str
) -> None:
    _set(config, path, value)
    with pytest.raises(TrainingConfigInvalid, match=f"^[^\n]*{re.escape(says)}[^\n]*$"):
        read_config(written(config))


def test_tokens_may_say_which_tokenizer_made_them(config: dict[str, Any], written: Written) -> None:
    assert [one.tokenizer for one in read_config(written(config)).modalities] == [None] * 4
    config["modalities"]["tok_rgb"]["tokenizer"] = "tokenizer.safetensors"
    assert read_config(written(config)).modalities[3].tokenizer == Path("tokenizer.safetensors")


def test_contrast_names_its_targets_and_own_vectors(config: dict[str, Any], written: Written, tmp_path: Path) -> None:
    config = with_contrast(config, tmp_path)
    config["modalities"]["rgb"]["field"] = ["rgb", "normal"]
    config["contrast"]["own"]["rgb"] = ["rgb_pooled", "normal_pooled"]
    read = read_config(written(config)).contrast
    assert (read.targets, read.code_weight, read.ranks) == (("shape_global",), 0.25, {"shape_global": 4})
    assert read.own == {"rgb": ("rgb_pooled", "normal_pooled"), "states": ("caption_vectors",)}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("contrast", "rank"), [4, 5], "contrast.rank must be one number, or one for each of shape_global, not [4, 5]"),
        (("contrast", "other_share"), 2, "contrast.other_share must be less than or equal to 1, not 2"),
        (("contrast", "targets"), ["shape_global", "none"], "contrast.targets must name modalities of kind vector"),
        (("contrast", "targets"), ["rgb"], "modalities.rgb is in contrast.targets; it must be of kind vector"),
        (("contrast", "own"), {"none": "x"}, "contrast.own names 'none', which is not an input"),
        (("contrast", "own"), {"rgb": ["x", "y"]}, "contrast.own.rgb must name one array for each of the 1 fields"),
        (("modalities", "shape_global", "target"), 1, "modalities.shape_global is in contrast.targets"),
    ],
)
def test_what_is_wrong_with_contrast_is_named(
    config: dict[str, Any], written: Written, tmp_path: Path, path: tuple[str, ...], value: Any, says: str
) -> None:
    config = with_contrast(config, tmp_path)
    _set(config, path, value)
    with pytest.raises(TrainingConfigInvalid, match=re.escape(says)):
        read_config(written(config))


@pytest.mark.parametrize("missing", ["total_tokens", "network", "modalities", "data", "masking", "optimiser", "text"])
def test_what_is_missing_is_named(config: dict[str, Any], written: Written, missing: str) -> None:
    del config[missing]
    with pytest.raises(TrainingConfigInvalid, match=f"{missing} is missing"):
        read_config(written(config))


def test_a_config_without_any_target_is_refused(config: dict[str, Any], written: Written) -> None:
    config["modalities"] = {"rgb": config["modalities"]["rgb"]}
    with pytest.raises(TrainingConfigInvalid, match="at least one input and one target"):
        read_config(written(config))


CONFIGS = Path(__file__).parents[4] / "configs"
SIZES = ("b", "l", "xl")
INPUT_ONLY = {"rgb@224", "t5_caption"}


def _config(size: str) -> TrainingConfig:
    return read_config(CONFIGS / f"4m-21-{size}.yaml")


def _parameters(config: FourMConfig) -> int:
    with torch.device("meta"):
        network = FourM(config)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("size", "published", "trained"), [("b", 834.4e6, 623.8e6), ("l", 1553.2e6, 1272.4e6), ("xl", 4517.8e6, 3956.3e6)]
)
def test_the_network_has_the_published_number_of_parameters(size: str, published: float, trained: float) -> None:
    network = make_plan(_config(size), None, {}).network
    assert len(network.domains_in) == 19
    assert set(network.domains_in) - set(network.domains_out) == INPUT_ONLY
    assert _parameters(replace(network, tie_token_embeddings=False)) == pytest.approx(published, abs=0.05e6)
    assert _parameters(network) == pytest.approx(trained, abs=0.05e6)


@pytest.mark.parametrize(("size", "rate", "clip"), [("b", 1.6e-3, None), ("l", 1.6e-3, None), ("xl", 3.2e-4, 3.0)])
def test_budgets_and_rates_are_the_published_ones(size: str, rate: float, clip: float | None) -> None:
    config = _config(size)
    assert config.tokens_per_step == 4096 * 512
    assert config.total_tokens == 500 * 10**9
    assert config.steps == 238_419
    warm_up = 10 * 10**9 / config.tokens_per_step
    assert max(config.rate_at(step) for step in range(0, config.steps, 97)) == pytest.approx(rate, rel=0.02)
    assert config.rate_at(int(warm_up / 2)) == pytest.approx(rate / 2, rel=1e-3)
    assert config.rate_at(config.steps) == 0
    assert (config.optimiser.betas, config.optimiser.clip) == ((0.9, 0.95), clip)
    assert (config.loss, config.precision) == (LossKind.MOD, Precision.BFLOAT16)
    assert [folder.weight for folder in config.data.folders] == [0.6, 0.2, 0.2]


@pytest.mark.parametrize("size", SIZES)
def test_the_mixture_is_the_published_one(size: str) -> None:
    config = _config(size)
    assert config.mixture.weights == (1, 1, 1, 1, 1, 0.5, 0.5)
    by_key = {modality.key: modality for modality in config.modalities}
    assert by_key["rgb@224"].input[4] == 1000
    assert by_key["caption"].input[5] == by_key["t5_caption"].input[6] == 5
    assert by_key["caption"].target == (0.01, 0.1, 1, 10, 0.5, 0, 0.5)
    for modality in config.modalities:
        if modality.key not in (*INPUT_ONLY, "caption"):
            assert modality.input == (0.01, 0.1, 1, 10, 0, 0.05, 0.05)
            assert modality.target == (0.01, 0.1, 1, 10, 0.5, 0.5, 0.5)
    assert {m.format for m in config.modalities if m.kind is FieldKind.TEXT} == {
        *("caption", "det", "metadata", "color_palette", "human_poses", "sam_instance")
    }


def test_texts_alone_train_captions_to_captions() -> None:
    config = _config("b")
    modalities = make_plan(config, None, {}).modalities
    captions = np.array([modality.settings.key == "caption" for modality in modalities])
    generator = np.random.default_rng(0)
    draws = [Masker(modalities, config.mixture).draw(captions, generator) for _ in range(20)]
    assert all(draw is not None and draw.input[captions] == 256 and draw.target[captions] == 256 for draw in draws)


def test_larger_networks_compute_blocks_twice() -> None:
    assert [_config(size).run.activation_checkpointing for size in SIZES] == [False, True, True]
