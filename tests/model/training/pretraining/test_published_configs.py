"""The configs of 4M-21: what was published of it, and networks of the published sizes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anyseek.model.network.config import FourMConfig
from anyseek.model.network.transformer import FourM
from anyseek.model.training.pretraining.config import FieldKind, LossKind, TrainingConfig, read_config
from anyseek.model.training.pretraining.masking import Masker
from anyseek.model.training.pretraining.plan import make_plan
from anyseek.model.training.run.config import Precision, Sharding

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


def test_the_largest_is_split_over_its_processes() -> None:
    found = {size: _config(size).run for size in SIZES}
    assert [found[size].sharding for size in SIZES] == [Sharding.NONE, Sharding.NONE, Sharding.FULL]
    assert [found[size].activation_checkpointing for size in SIZES] == [False, True, True]
